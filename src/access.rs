//! Who may do what: backends by handshake, players by token.
//!
//! A token is a JWT (RFC 7519) signed with HS256. Its claims are `sub`, the stream, and `exp`, whole seconds; a backend that
//! holds the secret can make its own. Nothing is stored: a signature and a clock decide. Signatures that were found to hold are
//! remembered in memory, for as long as the keys stay the same.

use std::{
    collections::HashMap,
    fs,
    io::Write,
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use uuid::Uuid;

use crate::{
    config::Secret,
    error::{Code, Error, Result},
    time::now,
};

/// The minute over which wrong handshakes are counted.
const WINDOW: Duration = Duration::from_mins(1);

/// Addresses whose failures are remembered; the oldest go when there are more.
const ADDRESSES: usize = 10_000;

/// Tokens that are remembered as genuine; all are forgotten when there are more.
const TOKENS: usize = 10_000;

/// What a token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The stream.
    pub sub: Uuid,
    /// Its own end, in seconds since the epoch.
    pub exp: i64,
}

/// What is signed: an identifier makes every token a new one, also within a second.
#[derive(Serialize)]
struct Signed<'a> {
    #[serde(flatten)]
    claims: &'a Claims,
    jti: String,
}

/// The handshakes and the signing keys of one process.
pub struct Access {
    secrets: RwLock<Secrets>,
    failures: Mutex<HashMap<IpAddr, Failures>>,
}

struct Secrets {
    handshakes: Vec<[u8; 32]>,
    bad_handshakes: u32,
    keys: Keys,
    genuine: HashMap<Box<str>, Claims, foldhash::fast::RandomState>,
    /// Tells these secrets from those that took their place.
    era: u64,
}

/// Signing keys: the first signs, all verify.
pub struct Keys(Vec<Key>);

struct Key {
    id: String,
    sign: EncodingKey,
    verify: DecodingKey,
}

struct Failures {
    since: Instant,
    count: u32,
}

impl Keys {
    /// Keys of these secrets, of which there is at least one.
    pub fn new(secrets: &[Secret]) -> Self {
        let key = |secret: &Secret| {
            let bytes = secret.expose().as_bytes();
            Key {
                id: hex::encode(&Sha256::digest([b"kid:", bytes].concat())[..4]),
                sign: EncodingKey::from_secret(bytes),
                verify: DecodingKey::from_secret(bytes),
            }
        };
        Self(secrets.iter().map(key).collect())
    }

    /// A token for `claims`.
    pub fn sign(&self, claims: &Claims) -> Result<String> {
        let failed = || Error::new(Code::Internal, "a token could not be signed");
        let key = self.0.first().ok_or_else(failed)?;
        let header = Header { kid: Some(key.id.clone()), ..Header::new(Algorithm::HS256) };
        let claims = Signed { claims, jti: hex::encode(rand::random::<[u8; 8]>()) };
        jsonwebtoken::encode(&header, &claims, &key.sign).map_err(|_| failed())
    }

    /// The claims of a token whose signature holds, whether its time has come or not.
    ///
    /// # Errors
    /// [`Code::TokenInvalid`].
    pub fn verify(&self, token: &str) -> Result<Claims> {
        let mut rules = Validation::new(Algorithm::HS256);
        // Expiry is judged by the caller, who tells an expired token from a false one.
        rules.validate_exp = false;
        rules.required_spec_claims.clear();
        let invalid = || Error::new(Code::TokenInvalid, "the token is not valid for this stream");
        let header = jsonwebtoken::decode_header(token).map_err(|_| invalid())?;
        let named = |key: &&Key| header.kid.as_ref().is_none_or(|id| *id == key.id);
        self.0
            .iter()
            .filter(named)
            .find_map(|key| jsonwebtoken::decode::<Claims>(token, &key.verify, &rules).ok())
            .map(|token| token.claims)
            .ok_or_else(invalid)
    }
}

impl Access {
    /// Handshakes that are accepted, keys that sign, and how many wrong handshakes a minute one address may send.
    pub fn new(handshakes: &[Secret], keys: Keys, bad_handshakes: u32) -> Self {
        let secrets = RwLock::new(Secrets::new(handshakes, keys, bad_handshakes, 0));
        Self { secrets, failures: Mutex::default() }
    }

    /// Takes other secrets from now on.
    pub fn replace(&self, handshakes: &[Secret], keys: Keys, bad_handshakes: u32) {
        let mut secrets = self.secrets.write().unwrap_or_else(PoisonError::into_inner);
        *secrets = Secrets::new(handshakes, keys, bad_handshakes, secrets.era + 1);
    }

    /// Compares a handshake with all that are accepted, in constant time. A correct one is never refused.
    ///
    /// # Errors
    /// [`Code::BadHandshake`]; [`Code::TooManyAttempts`] once `from` has sent too many wrong ones within a minute.
    pub fn check_handshake(&self, offered: Option<&str>, from: IpAddr) -> Result<()> {
        let secrets = self.secrets.read().unwrap_or_else(PoisonError::into_inner);
        if offered.is_some_and(|offered| secrets.accept(offered)) {
            return Ok(());
        }
        if self.count_failure(from) > secrets.bad_handshakes {
            tracing::warn!(%from, "too many wrong handshakes");
            return Err(Error::new(
                Code::TooManyAttempts,
                "too many wrong handshakes from this address; wait a minute",
            ));
        }
        tracing::warn!(%from, "wrong handshake");
        let text = match offered {
            Some(_) => "the handshake is wrong",
            None => "the handshake is missing; send it as `handshake` or as a bearer token",
        };
        Err(Error::new(Code::BadHandshake, text))
    }

    /// A token for `rid` until `end`.
    pub fn sign(&self, rid: Uuid, end: i64) -> Result<String> {
        let secrets = self.secrets.read().unwrap_or_else(PoisonError::into_inner);
        secrets.keys.sign(&Claims { sub: rid, exp: end })
    }

    /// Until when `token` opens `rid`, in seconds since the epoch.
    ///
    /// # Errors
    /// [`Code::TokenMissing`], [`Code::TokenInvalid`], or [`Code::TokenExpired`] for a genuine token of this stream.
    pub fn check_token(&self, token: Option<&str>, rid: Uuid) -> Result<i64> {
        let missing = || {
            let text =
                "a token is needed: send it as x-gostreamer-token, as a bearer token or as ?token=";
            Error::new(Code::TokenMissing, text)
        };
        let token = token.ok_or_else(missing)?;
        let claims = self.claims(token)?;
        if claims.sub != rid {
            return Err(Error::new(Code::TokenInvalid, "the token is not valid for this stream"));
        }
        if claims.exp <= now() {
            return Err(Error::new(Code::TokenExpired, "the token has expired; ask for a new one"));
        }
        Ok(claims.exp)
    }

    /// As [`Keys::verify`]. A player shows the same token with every file, and a signature costs more than all else that
    /// is done for a file in memory: 2.6 of 11.4 us (wrk, 32 connections).
    fn claims(&self, token: &str) -> Result<Claims> {
        let secrets = self.secrets.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(claims) = secrets.genuine.get(token) {
            return Ok(*claims);
        }
        let (claims, era) = (secrets.keys.verify(token)?, secrets.era);
        drop(secrets);
        let mut secrets = self.secrets.write().unwrap_or_else(PoisonError::into_inner);
        // What other keys have signed is for them to say.
        if secrets.era == era {
            if secrets.genuine.len() >= TOKENS {
                secrets.genuine.clear();
            }
            secrets.genuine.insert(token.into(), claims);
        }
        Ok(claims)
    }

    fn count_failure(&self, from: IpAddr) -> u32 {
        let now = Instant::now();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= ADDRESSES && !failures.contains_key(&from) {
            failures.retain(|_, failure| now - failure.since < WINDOW);
            if failures.len() >= ADDRESSES {
                // So many at once are one attacker with many addresses: start over rather than grow.
                failures.clear();
            }
        }
        let failure = failures.entry(from).or_insert(Failures { since: now, count: 0 });
        if now - failure.since >= WINDOW {
            *failure = Failures { since: now, count: 0 };
        }
        failure.count = failure.count.saturating_add(1);
        failure.count
    }
}

impl Secrets {
    fn new(handshakes: &[Secret], keys: Keys, bad_handshakes: u32, era: u64) -> Self {
        // Hashing first makes lengths equal: only then does the comparison tell nothing at all.
        let hash = |secret: &Secret| Sha256::digest(secret.expose()).into();
        let handshakes = handshakes.iter().map(hash).collect();
        Self { handshakes, bad_handshakes, keys, genuine: HashMap::default(), era }
    }

    fn accept(&self, offered: &str) -> bool {
        let offered: [u8; 32] = Sha256::digest(offered).into();
        let equal = |sum: Choice, known: &[u8; 32]| sum | known.ct_eq(&offered);
        self.handshakes.iter().fold(Choice::from(0), equal).into()
    }
}

/// The signing key in `dir`: made once, readable by its owner only.
pub fn own_secret(dir: &Path) -> Result<Secret> {
    let path = dir.join("token.key");
    let doing = || format!("state.dir: the signing key {}", path.display());
    match fs::read_to_string(&path) {
        Ok(text) if text.trim().len() >= 64 => return Ok(Secret::new(text.trim())),
        Ok(_) => {
            return Err(Error::new(
                Code::Io,
                format!("{} is damaged; remove it to get a new one", doing()),
            ));
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(Error::io(doing(), &e)),
    }
    let secret = hex::encode(rand::random::<[u8; 32]>());
    let temporary = dir.join("token.key.new");
    let write = || {
        let mut options = fs::OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(secret.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &path)
    };
    write().map_err(|e| Error::io(doing(), &e))?;
    Ok(Secret::new(secret))
}

#[cfg(test)]
mod tests;
