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
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const OLD: &str = "old secret, at least thirty-two bytes";
    const NEW: &str = "new secret, at least thirty-two bytes";

    fn keys(secrets: &[&str]) -> Keys {
        Keys::new(&secrets.iter().map(|&secret| Secret::new(secret)).collect::<Vec<_>>())
    }

    fn access(secrets: &[&str]) -> Access {
        Access::new(&[Secret::new("first"), Secret::new("second")], keys(secrets), 3)
    }

    fn code<T: std::fmt::Debug>(result: Result<T>) -> Code {
        result.unwrap_err().code()
    }

    #[test]
    fn tokens_open_one_stream_until_they_expire() {
        let (access, rid) = (access(&[NEW]), Uuid::new_v4());
        let token = access.sign(rid, now() + 10).unwrap();
        assert_eq!(access.check_token(Some(&token), rid).unwrap(), now() + 10);
        assert_ne!(access.sign(rid, now() + 10).unwrap(), token, "each is a new one");
        assert_eq!(code(access.check_token(Some(&token), Uuid::new_v4())), Code::TokenInvalid);
        assert_eq!(code(access.check_token(None, rid)), Code::TokenMissing);
        let expired = access.sign(rid, now()).unwrap();
        assert_eq!(code(access.check_token(Some(&expired), rid)), Code::TokenExpired);
        assert_eq!(code(access.check_token(Some(&expired), Uuid::new_v4())), Code::TokenInvalid);
    }

    #[test]
    fn keys_rotate() {
        let rid = Uuid::new_v4();
        let token = access(&[OLD]).sign(rid, now() + 10).unwrap();
        assert!(access(&[NEW, OLD]).check_token(Some(&token), rid).is_ok());
        assert_eq!(code(access(&[NEW]).check_token(Some(&token), rid)), Code::TokenInvalid);
    }

    #[test]
    fn what_is_remembered_of_tokens_ends_with_them_and_with_their_key() {
        let (access, rid) = (access(&[OLD]), Uuid::new_v4());
        let expired = access.sign(rid, now() - 1).unwrap();
        let token = access.sign(rid, now() + 10).unwrap();
        for _ in 0..2 {
            assert!(access.check_token(Some(&token), rid).is_ok());
            assert_eq!(code(access.check_token(Some(&expired), rid)), Code::TokenExpired);
            assert_eq!(code(access.check_token(Some(&token), Uuid::nil())), Code::TokenInvalid);
        }
        access.replace(&[], keys(&[NEW]), 3);
        assert_eq!(code(access.check_token(Some(&token), rid)), Code::TokenInvalid);
    }

    #[test]
    fn the_memory_of_tokens_is_bounded() {
        let (access, rid) = (access(&[NEW]), Uuid::new_v4());
        for second in 1..=TOKENS as i64 + 1 {
            let token = access.sign(rid, now() + second + 10).unwrap();
            assert!(access.check_token(Some(&token), rid).is_ok());
        }
        assert_eq!(access.secrets.read().unwrap().genuine.len(), 1);
    }

    #[test]
    fn a_backend_can_mint_its_own() {
        let rid = Uuid::new_v4();
        let key = EncodingKey::from_secret(NEW.as_bytes());
        let claims = json!({ "sub": rid, "exp": now() + 10, "iat": now(), "name": "more" });
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
        assert!(access(&[OLD, NEW]).check_token(Some(&token), rid).is_ok());
    }

    #[test]
    fn what_is_not_exactly_right_is_refused() {
        let (access, rid) = (access(&[NEW]), Uuid::new_v4());
        let key = EncodingKey::from_secret(NEW.as_bytes());
        let sign = |algorithm, claims: serde_json::Value| {
            jsonwebtoken::encode(&Header::new(algorithm), &claims, &key).unwrap()
        };
        let good = sign(Algorithm::HS256, json!({ "sub": rid, "exp": now() + 10 }));
        let (head, rest) = good.split_once('.').unwrap();
        // {"alg":"none"} with the same claims and no signature.
        let none = format!("eyJhbGciOiJub25lIn0.{}.", rest.split_once('.').unwrap().0);
        let bad = [
            sign(Algorithm::HS384, json!({ "sub": rid, "exp": now() + 10 })),
            sign(Algorithm::HS256, json!({ "sub": rid })),
            sign(Algorithm::HS256, json!({ "exp": now() + 10 })),
            sign(Algorithm::HS256, json!({ "sub": rid, "exp": "9999999999" })),
            sign(Algorithm::HS256, json!({ "sub": rid, "exp": 99_999_999_999.5 })),
            sign(Algorithm::HS256, json!({ "sub": "x", "exp": now() + 10 })),
            none,
            head.to_owned(),
            format!("{good}x"),
            good.replace('.', ""),
            String::new(),
        ];
        for token in bad {
            assert_eq!(code(access.check_token(Some(&token), rid)), Code::TokenInvalid, "{token}");
        }
    }

    #[test]
    fn a_correct_handshake_is_never_refused_for_wrong_ones() {
        let access = access(&[NEW]);
        for _ in 0..3 {
            assert_eq!(code(access.check_handshake(Some("guess"), HERE)), Code::BadHandshake);
        }
        assert_eq!(code(access.check_handshake(None, HERE)), Code::TooManyAttempts);
        assert!(access.check_handshake(Some("first"), HERE).is_ok());
        assert!(access.check_handshake(Some("second"), HERE).is_ok());
        let elsewhere = IpAddr::from([10, 0, 0, 1]);
        assert_eq!(code(access.check_handshake(Some("First"), elsewhere)), Code::BadHandshake);
    }

    #[test]
    fn after_a_minute_the_count_begins_anew() {
        let access = access(&[NEW]);
        for _ in 0..4 {
            let _ = access.check_handshake(None, HERE);
        }
        assert_eq!(code(access.check_handshake(None, HERE)), Code::TooManyAttempts);
        access.failures.lock().unwrap().get_mut(&HERE).unwrap().since -= WINDOW;
        assert_eq!(code(access.check_handshake(None, HERE)), Code::BadHandshake);
    }

    #[test]
    fn the_own_key_is_made_once_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let secret = own_secret(dir.path()).unwrap();
        assert_eq!(own_secret(dir.path()).unwrap().expose(), secret.expose());
        let mode = fs::metadata(dir.path().join("token.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(dir.path().join("token.key"), "short").unwrap();
        assert_eq!(code(own_secret(dir.path())), Code::Io);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]
        #[test]
        fn wild_tokens_are_refused(token in ".{0,200}") {
            let access = access(&[NEW]);
            prop_assert!(access.check_token(Some(&token), Uuid::nil()).is_err());
        }

        #[test]
        fn a_changed_token_is_refused(at in 0usize..150, byte in 0x21u8..0x7f) {
            let (access, rid) = (access(&[NEW]), Uuid::from_u128(7));
            let token = access.sign(rid, i64::MAX).unwrap();
            let mut changed = token.clone().into_bytes();
            let at = at % changed.len();
            // The last character of a part carries unused bits; a decoder may or may not look at them.
            prop_assume!(changed[at] != byte && token[at + 1..].chars().next().is_some_and(|c| c != '.'));
            changed[at] = byte;
            let changed = String::from_utf8(changed).unwrap();
            prop_assert!(access.check_token(Some(&changed), rid).is_err());
        }
    }
}
