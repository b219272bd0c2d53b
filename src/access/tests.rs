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
