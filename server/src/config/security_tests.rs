//! What the flags of TLS become, and what they are refused with.

use super::Security;
use super::tests::{config, config_of, exit_line, from_file};

#[test]
fn tls_that_cannot_work_exits_with_1() {
    let secure = ["--listen-client-urls=https://127.0.0.1:1", "--advertise-client-urls=https://127.0.0.1:1"];
    let with = |more: &[&'static str]| [&secure, more].concat();
    for (arguments, text) in [
        (
            with(&[]),
            "TLS key/cert (--cert-file, --key-file) must be provided for client url https://127.0.0.1:1 with HTTPS \
             scheme",
        ),
        (
            vec!["--listen-metrics-urls=https://127.0.0.1:1"],
            "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url",
        ),
        (with(&["--cert-file=c"]), "KeyFile and CertFile must both be present[key: , cert: c]"),
        (vec!["--peer-key-file=k"], "KeyFile and CertFile must both be present[key: k, cert: ]"),
        (
            with(&["--cert-file=c", "--key-file=k", "--client-cert-file=x"]),
            "ClientKeyFile and ClientCertFile must both be present or both absent: key: , cert: x]",
        ),
        (vec!["--cipher-suites=TLS_X"], "unexpected TLS cipher suite \"TLS_X\""),
        (
            vec!["--cipher-suites=TLS_RSA_WITH_AES_128_CBC_SHA", "--tls-max-version=TLS1.2"],
            "--cipher-suites: none of TLS_RSA_WITH_AES_128_CBC_SHA is built in",
        ),
        (
            vec!["--auto-tls", "--self-signed-cert-validity=0"],
            "selfSignedCertValidity is invalid,it should be greater than 0",
        ),
    ] {
        assert_eq!(exit_line(&arguments), (1, text.to_owned()), "{arguments:?}");
    }
}

#[test]
fn tls_is_read_for_clients_and_for_members() {
    let plain = config(&[]);
    assert_eq!(plain.security.client, holdfast_net::tls::Settings::default());
    assert!(!plain.security.client_auto && !plain.security.peer_auto);
    let yaml = "
client-transport-security: {cert-file: c, key-file: k, client-cert-auth: true, trusted-ca-file: ca, allowed-cn: [a]}
peer-transport-security: {cert-file: pc, key-file: pk, allowed-hostname: [h], skip-client-san-verification: true}
cipher-suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_RSA_WITH_AES_128_CBC_SHA]
tls-max-version: TLS1.2
";
    let config = config_of(from_file(yaml));
    let Security { client, peer, .. } = config.security;
    assert_eq!((client.cert_file.as_str(), client.key_file.as_str()), ("c", "k"));
    assert!(client.client_cert_auth && client.asks_for_certificates());
    assert_eq!(
        (&client.allowed_cns[..], &peer.allowed_hostnames[..]),
        (&["a".to_owned()][..], &["h".to_owned()][..])
    );
    assert_eq!((peer.cert_file.as_str(), peer.trusted_ca_file.as_str()), ("pc", ""));
    assert!(peer.skip_client_san_verification && !peer.asks_for_certificates());
    assert_eq!(peer.version_max, holdfast_net::tls::Version::Tls12);
    let warning = "--cipher-suites: TLS_RSA_WITH_AES_128_CBC_SHA is not built in and is left out";
    assert!(config.warnings.iter().any(|text| text == warning), "{:?}", config.warnings);
    let ignored = config.warnings.iter().filter(|text| text.contains("scheme is ")).count();
    assert_eq!(ignored, 3, "{:?}", config.warnings);
}
