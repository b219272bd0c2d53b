//! Whatever is written: no panic, and what is valid survives being printed.

use super::*;

/// Lines that look like settings, some of which are.
fn yamlish() -> impl Strategy<Value = String> {
    let key = prop_oneof![
        Just("port"),
        Just("handshake"),
        Just("url"),
        Just("audio"),
        Just("cache"),
        Just("size"),
        Just("expiry"),
        Just("upstream"),
        Just("headers"),
        Just("limits"),
        Just("trusted_proxies"),
        Just("packager"),
        Just("bitrate"),
        Just("cors"),
        Just("origins"),
        Just("token"),
        Just("secret"),
        Just("log"),
        Just("<<"),
        Just("? x"),
    ];
    let line = (
        0..3_usize,
        key,
        "|[0-9]{1,20}|[0-9.]{1,9}(MB|ms|h|k)|[-\\[\\]{}&*!|>'\"%@`#,?: a-z0-9.]{0,12}|\\PC{0,8}",
    )
        .prop_map(|(depth, key, value)| format!("{}{key}: {value}\n", "  ".repeat(depth)));
    prop_oneof![
        proptest::collection::vec(line, 0..8).prop_map(|lines| lines.concat()),
        "\\PC{0,60}",
        "[\\s\\S]{0,60}"
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn no_file_makes_it_panic(yaml in yamlish()) {
        let written = Written::new(&yaml);
        if let Err(error) = written.load() {
            prop_assert_eq!(error.code(), Code::Config);
            prop_assert!(!error.to_string().contains('\n'), "{}", error);
        }
    }

    #[test]
    fn no_override_makes_it_panic(
        variable in "HLS__([A-Z_]{0,12}|CACHE__SIZE|LIMITS__IDLE|CORS__ORIGINS|UPSTREAM__HEADERS__[!-~]{0,5})",
        key in "[a-z.\\[\\]0-9-]{0,16}|cache\\.(size|dir|expiry)|packager\\.(bitrate|segment)|handshake|url\\.(audio|vtt)|\\PC{0,9}",
        value in "\\PC{0,20}|[\\[{][\\[\\]{},:a-z0-9 '\"&*]{0,20}|[0-9.]{1,25}(MB|ms|h|k|)",
    ) {
        let written = Written::new(NEEDED);
        if let Err(error) = written.load_with(&[(&variable, &value)], &[(&key, &value)]) {
            prop_assert_eq!(error.code(), Code::Config);
            prop_assert!(!error.to_string().contains('\n'), "{}", error);
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_valid_settings_print_and_load_back(
        port: u16,
        size in 1_000..1_000_000_000_000_000_u64,
        expiry in 1_000_000_000..31_000_000_000_000_000_u64,
        bitrate in 16_000..=512_000_u32,
        name in "[^\\p{C}\"]{1,64}",
        batch in 1..=10_000_usize,
    ) {
        let written = Written::new(NEEDED);
        let mut settings = written.load().unwrap();
        settings.port = port;
        settings.cache.size = size;
        settings.cache.expiry = Duration::from_nanos(expiry);
        settings.packager.bitrate = bitrate;
        settings.captions.name = name;
        settings.limits.batch = batch;
        written.rewrite(&settings.to_yaml().replacen("'***'", "a-handshake-of-some-length", 1));
        prop_assert_eq!(written.load().unwrap(), settings);
    }
}
