//! The broker from outside: a backend's calls, and any request of HTTP.

use std::io;

use serde_json::{Value, json};

use super::{
    Broker,
    http::{self, Headers, Reply},
    setup::HANDSHAKE,
};

/// What a backend gets for its media: the answer of `token` and `unlock`.
#[derive(Clone, Debug)]
pub struct Grant {
    pub rid: String,
    pub token: String,
    pub url: String,
    pub warnings: Vec<String>,
    /// The whole answer.
    pub json: Value,
}

/// What a backend gets for a batch.
#[derive(Clone, Debug)]
pub struct Batch {
    pub id: String,
    /// The streams' rids in the order asked.
    pub rids: Vec<String>,
    /// The whole answer.
    pub json: Value,
}

/// A backend's calls.
impl Broker {
    /// `POST /api/token` for this media id.
    pub fn ask(&self, qid: &str) -> Reply {
        self.post_json("/api/token", &json!({ "handshake": HANDSHAKE, "qid": qid }))
    }

    /// [`Broker::ask`], which must succeed.
    #[track_caller]
    pub fn token(&self, qid: &str) -> Grant {
        self.grant(self.ask(qid).expect(201).json())
    }

    /// `POST /api/token` for this file of the library.
    pub fn ask_file(&self, file: &str) -> Reply {
        self.post_json("/api/token", &json!({ "handshake": HANDSHAKE, "file": file }))
    }

    /// [`Broker::ask_file`], which must succeed.
    #[track_caller]
    pub fn token_file(&self, file: &str) -> Grant {
        self.grant(self.ask_file(file).expect(201).json())
    }

    /// `GET /api/library` with this query.
    #[track_caller]
    pub fn library(&self, query: &str) -> Reply {
        let bearer = format!("Bearer {HANDSHAKE}");
        self.get(&format!("/api/library{query}"), &[("authorization", &bearer)])
    }

    /// `POST /api/unlock`, which must succeed.
    #[track_caller]
    pub fn unlock(&self, rid: &str) -> Grant {
        let reply = self.post_json("/api/unlock", &json!({ "handshake": HANDSHAKE, "rid": rid }));
        let mut json = reply.expect(201).json();
        json["rid"] = rid.into();
        self.grant(json)
    }

    /// `POST /api/batch`, which must succeed.
    #[track_caller]
    pub fn batch(&self, qids: &[&str], expiry: &str) -> Batch {
        let body = json!({ "handshake": HANDSHAKE, "qids": qids, "expiry": expiry });
        let json = self.post_json("/api/batch", &body).expect(201).json();
        let streams = json["streams"].as_array().expect("streams");
        Batch {
            id: text(&json, "batchid"),
            rids: streams.iter().map(|stream| text(stream, "rid")).collect(),
            json,
        }
    }

    /// `DELETE /api/streams/<rid>` with the handshake.
    pub fn revoke(&self, rid: &str) -> Reply {
        let bearer = format!("Bearer {HANDSHAKE}");
        self.send("DELETE", &format!("/api/streams/{rid}"), &[("authorization", &bearer)], None)
    }

    #[track_caller]
    fn grant(&self, json: Value) -> Grant {
        let grant = Grant {
            rid: text(&json, "rid"),
            token: text(&json, "token"),
            url: text(&json, "url"),
            warnings: json["warnings"].as_array().map_or_else(Vec::new, |warnings| {
                warnings.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }),
            json,
        };
        self.keep_secret(&grant.token);
        grant
    }
}

/// Any request. A path may also be a whole URL of this broker, such as a grant's.
impl Broker {
    /// The value of a sample on `/metrics`, its labels included in the name; none while it is not there.
    #[track_caller]
    pub fn metric(&self, sample: &str) -> Option<f64> {
        let page = self.get("/metrics", &[]).expect(200);
        let mut lines = page.text().lines();
        let value = lines.find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        value.map(|value| value.trim().parse().expect("a number"))
    }

    /// A POST of JSON.
    #[track_caller]
    pub fn post_json(&self, path: &str, body: &Value) -> Reply {
        self.post(path, &[("content-type", "application/json")], body.to_string())
    }

    /// A POST of any bytes.
    #[track_caller]
    pub fn post(&self, path: &str, headers: Headers, body: impl AsRef<[u8]>) -> Reply {
        self.send("POST", path, headers, Some(body.as_ref()))
    }

    /// A GET.
    #[track_caller]
    pub fn get(&self, path: &str, headers: Headers) -> Reply {
        self.send("GET", path, headers, None)
    }

    /// A request of any method, which must be answered.
    #[track_caller]
    pub fn send(&self, method: &str, path: &str, headers: Headers, body: Option<&[u8]>) -> Reply {
        self.try_send(method, path, headers, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// [`Broker::send`] to a broker that may be down.
    pub fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: Headers,
        body: Option<&[u8]>,
    ) -> io::Result<Reply> {
        let path = path.strip_prefix(&self.url()).unwrap_or(path);
        let listener = if path.starts_with("/api/") { "api" } else { "main" };
        http::request(self.address(listener), method, path, headers, body)
    }
}

#[track_caller]
fn text(json: &Value, name: &str) -> String {
    json[name].as_str().unwrap_or_else(|| panic!("no {name} in {json}")).to_owned()
}
