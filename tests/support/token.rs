//! Tokens and instants as a backend has them that knows the signing secret (RFC 7519, RFC 3339).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde_json::{Value, json};

use super::{Broker, Setup, Upstream};

/// The secret of brokers from [`setup`].
pub const SECRET: &str = "signing-secret-of-the-tests-5d1f0c-with-32-bytes-and-more";

/// A broker whose tokens the test can make and read.
pub fn setup(upstream: &Upstream) -> Setup {
    Broker::setup(upstream).with("token.secret", SECRET)
}

/// A token for `rid` that ends at `exp`, in seconds since the epoch.
pub fn mint(rid: &str, exp: i64) -> String {
    mint_with(SECRET, rid, exp)
}

/// [`mint`] with another secret than the broker's.
pub fn mint_with(secret: &str, rid: &str, exp: i64) -> String {
    let claims = json!({ "sub": rid, "exp": exp });
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(&Header::new(Algorithm::HS256), &claims, &key).expect("a token")
}

/// The claims of a token whose signature holds, expired or not.
#[track_caller]
pub fn claims(token: &str) -> Value {
    let mut rules = Validation::new(Algorithm::HS256);
    rules.validate_exp = false;
    let key = DecodingKey::from_secret(SECRET.as_bytes());
    decode(token, &key, &rules).expect("a signature that holds").claims
}

/// The `exp` of a token whose signature holds.
#[track_caller]
pub fn end(token: &str) -> i64 {
    claims(token)["exp"].as_i64().expect("whole seconds")
}

/// The instant that an answer's `expires_at` names, in seconds since the epoch; it has no fraction.
#[track_caller]
pub fn expires_at(json: &Value) -> i64 {
    let text = json["expires_at"].as_str().expect("expires_at");
    let at = humantime::parse_rfc3339(text).expect("an instant of RFC 3339");
    let since = at.duration_since(UNIX_EPOCH).expect("after 1970");
    assert_eq!(since.subsec_nanos(), 0, "{text}");
    since.as_secs().try_into().expect("a second")
}

/// The first whole second at or after `life` from now.
pub fn second_in(life: Duration) -> i64 {
    let end = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970") + life;
    (end.as_secs() + u64::from(end.subsec_nanos() > 0)).try_into().expect("a second")
}

/// A second that is long over, and one that is long to come.
pub const PAST: i64 = 1_000_000_000;
pub const FUTURE: i64 = 100_000_000_000;
