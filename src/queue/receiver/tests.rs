//! URLs that must not lead anywhere, and those that must.

use proptest::prelude::*;

use super::*;
use crate::config::{Network, Webhooks};

/// What follows `http://` in a URL that leads, or might be read to lead, to this machine or its network.
const HOSTS: &[&str] = &[
    // This machine.
    "127.0.0.1/",
    "127.0.0.1:6379/",
    "127.1/",
    "127.0.1/",
    "127.127.127.127/",
    "2130706433/",
    "0x7f000001/",
    "0x7f.0.0.1/",
    "0x7f.1/",
    "017700000001/",
    "0177.0.0.1/",
    "0177.1/",
    "00000177.0.0.1/",
    "127.000.000.001/",
    "0/",
    "0.0.0.0/",
    "0x0/",
    "localhost/",
    "LOCALHOST/",
    "localhost./",
    "127.0.0.1./",
    "sub.localhost/",
    "localhost.localdomain/",
    "ip6-localhost/",
    "①②⑦.⓪.⓪.①/",
    "127。0。0。1/",
    "127%2e0%2e0%2e1/",
    "%31%32%37.0.0.1/",
    "[::1]/",
    "[0:0:0:0:0:0:0:1]/",
    "[0000::1]/",
    "[::]/",
    "[::ffff:127.0.0.1]/",
    "[::ffff:7f00:1]/",
    "[0:0:0:0:0:ffff:127.0.0.1]/",
    "[::127.0.0.1]/",
    "[::7f00:1]/",
    "[::ffff:0:127.0.0.1]/",
    "[64:ff9b::127.0.0.1]/",
    "[64:ff9b::7f00:1]/",
    "[64:ff9b:1::7f00:1]/",
    "[2002:7f00:1::]/",
    "[2001:0:7f00:1::]/",
    "[::1%25lo]/",
    "[::1%lo]/",
    // Clouds' metadata, and the network at hand.
    "169.254.169.254/",
    "169.254.170.2/",
    "2852039166/",
    "0xa9fea9fe/",
    "0xa9.0xfe.0xa9.0xfe/",
    "0251.0376.0251.0376/",
    "169.254.43518/",
    "[::ffff:169.254.169.254]/",
    "[::ffff:a9fe:a9fe]/",
    "[fd00:ec2::254]/",
    "[fe80::1]/",
    "[fe80::a9fe:a9fe]/",
    "metadata.google.internal/",
    "100.100.100.200/",
    "168.63.129.16/",
    "192.0.0.192/",
    // Private networks and what is set aside.
    "10.0.0.1/",
    "10.1/",
    "172.16.0.1/",
    "172.31.255.255/",
    "192.168.0.1/",
    "192.168.257/",
    "0xc0a80001/",
    "100.64.0.1/",
    "198.18.0.1/",
    "192.0.2.1/",
    "224.0.0.1/",
    "240.0.0.1/",
    "255.255.255.255/",
    "192.88.99.1/",
    "[fc00::1]/",
    "[fd12:3456::1]/",
    "[fec0::1]/",
    "[ff02::1]/",
    "[100::1]/",
    "[2001:db8::1]/",
    "[3fff::1]/",
    "[5f00::1]/",
    "[2001:10::1]/",
    "[2001:20::1]/",
    // What parsers differ about.
    "example.com@127.0.0.1/",
    "127.0.0.1@example.com/",
    "u:p@127.0.0.1/",
    "127.0.0.1#@example.com",
    "127.0.0.1?@example.com",
    "example.com\\@127.0.0.1/",
    "127.0.0.1\\@example.com/",
    "/127.0.0.1/",
    "example.com:80@127.0.0.1/",
    "127.0.0.1:80:80/",
    "127.0.0.1:99999/",
    "127.0.0.1:0/",
    "127.0.0.1%00.example.com/",
    "127.0.0.1\0.example.com/",
    "127.0.0.1%0d%0aX:y/",
    "127.0.0.1/\r\nX: y",
    "127.0.0.\n1/",
    "[::1]:80@example.com/",
    "[127.0.0.1]/",
    "example.com:22/",
];

/// Whole texts of that kind.
const TEXTS: &[&str] = &[
    "http:\\\\127.0.0.1\\",
    "http:/127.0.0.1/",
    "http:127.0.0.1/",
    " http://127.0.0.1/",
    "ht\ttp://127.0.0.1/",
    "https://127.0.0.1",
    "HTTP://127.0.0.1",
    "file:///etc/passwd",
    "gopher://127.0.0.1/",
    "ftp://127.0.0.1/",
    "dict://127.0.0.1/",
    "ldap://127.0.0.1/",
    "jar:http://127.0.0.1!/",
    "unix:/run/docker.sock",
    "http+unix://%2frun%2fdocker.sock/",
    "ws://example.com/",
    "data:text/plain,x",
    "javascript:alert(1)",
    "//127.0.0.1/",
    "/relative",
    "127.0.0.1",
    "",
    "https://",
    "https:///",
    "https://?x",
];

fn policy(allow_http: bool, networks: &[&str]) -> Policy {
    Policy::from(&Webhooks {
        allow_http,
        allow_networks: networks
            .iter()
            .map(|text| Network::parse(text).unwrap())
            .collect(),
        ..Webhooks::default()
    })
}

#[test]
fn no_form_of_an_inner_address_is_a_receiver() {
    assert!(HOSTS.len() + TEXTS.len() >= 126);
    for allow_http in [false, true] {
        let policy = policy(allow_http, &[]);
        for rest in HOSTS {
            for scheme in ["http", "https"] {
                let text = format!("{scheme}://{rest}");
                assert!(Receiver::parse(&text, &policy).is_err(), "{text:?}");
            }
        }
        for text in TEXTS {
            assert!(Receiver::parse(text, &policy).is_err(), "{text:?}");
        }
    }
}

#[test]
fn a_receiver_is_what_its_url_says() {
    for (text, url, origin) in [
        (
            "https://example.com",
            "https://example.com/",
            "https://example.com:443",
        ),
        (
            "HTTPS://Example.COM:443/a/B?c=D&e[]=%2f",
            "https://example.com/a/B?c=D&e[]=%2f",
            "https://example.com:443",
        ),
        (
            "http://example.com?x",
            "http://example.com/?x",
            "http://example.com:80",
        ),
        (
            "http://example.com:443/",
            "http://example.com:443/",
            "http://example.com:443",
        ),
        (
            "https://a_b.xn--bcher-kva.example:8443/hook",
            "https://a_b.xn--bcher-kva.example:8443/hook",
            "https://a_b.xn--bcher-kva.example:8443",
        ),
        (
            "https://93.184.216.34/x",
            "https://93.184.216.34/x",
            "https://93.184.216.34:443",
        ),
        (
            "https://[2606:2800:0220:1:248:1893:25C8:1946]:65535/",
            "https://[2606:2800:220:1:248:1893:25c8:1946]:65535/",
            "https://[2606:2800:220:1:248:1893:25c8:1946]:65535",
        ),
        (
            "https://example.com/a//../b/./c",
            "https://example.com/a//../b/./c",
            "https://example.com:443",
        ),
    ] {
        let receiver =
            Receiver::parse(text, &policy(true, &[])).unwrap_or_else(|bad| panic!("{text}: {bad}"));
        assert_eq!(
            (receiver.url().as_str(), receiver.origin().as_str()),
            (url, origin)
        );
        assert_eq!(Receiver::parse(&receiver.url(), &policy(true, &[])), Ok(receiver));
    }
}

#[test]
fn a_url_is_refused_for_what_is_wrong_with_it() {
    let long = format!("https://example.com/{}", "a".repeat(2064));
    let name = format!("https://{}.com/", "a".repeat(64));
    let names = format!("https://{}com/", "abcdefg.".repeat(32));
    for (text, bad) in [
        (long.as_str(), BadReceiver::TooLong),
        (&name, BadReceiver::Host),
        (&names, BadReceiver::Host),
        ("https://example.com/a b", BadReceiver::Characters),
        ("https://exämple.com/", BadReceiver::Characters),
        ("ftp://example.com/", BadReceiver::Scheme),
        ("http://example.com/", BadReceiver::Plain),
        ("https://u@example.com/", BadReceiver::UserInfo),
        ("https://example.com/#a", BadReceiver::Fragment),
        ("https://example..com/", BadReceiver::Host),
        ("https://-a.example/", BadReceiver::Host),
        ("https://2130706433/", BadReceiver::Host),
        ("https://example.com./", BadReceiver::Host),
        ("https://example/", BadReceiver::Inner),
        ("https://a.b.LOCAL/", BadReceiver::Inner),
        ("https://router.home.arpa/", BadReceiver::Inner),
        ("https://example.com:/", BadReceiver::Port),
        ("https://example.com:0443/", BadReceiver::Port),
        ("https://example.com:+443/", BadReceiver::Port),
        ("https://example.com:65536/", BadReceiver::Port),
        ("https://example.com:25/", BadReceiver::Port),
        ("https://example.com:6379/", BadReceiver::Port),
        ("https://10.0.0.1/", BadReceiver::Blocked(Blocked::Private)),
        (
            "https://169.254.169.254/",
            BadReceiver::Blocked(Blocked::Metadata),
        ),
    ] {
        assert_eq!(Receiver::parse(text, &policy(false, &[])), Err(bad), "{text:.60}");
    }
    let just = &long[..MAX_URL];
    assert!(Receiver::parse(just, &Policy::default()).is_ok());
}

#[test]
fn an_address_is_blocked_for_what_it_is() {
    for (address, reason) in [
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("10.0.0.1", "private"),
        ("fd12::1", "private"),
        ("169.254.0.1", "link_local"),
        ("fe80::1", "link_local"),
        ("169.254.169.254", "metadata"),
        ("168.63.129.16", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("100.127.255.255", "cgnat"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("0.1.2.3", "unspecified"),
        ("::", "unspecified"),
        ("::ffff:10.0.0.1", "private"),
        ("::ffff:93.184.216.34", "embedded"),
        ("::93.184.216.34", "embedded"),
        ("::ffff:0:93.184.216.34", "embedded"),
        ("64:ff9b::93.184.216.34", "embedded"),
        ("2002:5db8:d822::1", "embedded"),
        ("2001::1", "embedded"),
        ("255.255.255.255", "reserved"),
        ("203.0.113.1", "reserved"),
        ("2001:1ff::1", "reserved"),
        ("4000::1", "reserved"),
        ("1fff::1", "reserved"),
    ] {
        let verdict = Policy::default().allows(address.parse().unwrap());
        assert_eq!(verdict.unwrap_err().as_str(), reason, "{address}");
    }
    for address in [
        "1.1.1.1",
        "93.184.216.34",
        "100.63.255.255",
        "172.15.0.1",
        "172.32.0.1",
        "192.0.1.1",
        "198.20.0.1",
        "223.255.255.255",
        "2001:200::1",
        "2606:4700::1111",
        "3ffe::1",
    ] {
        assert_eq!(
            Policy::default().allows(address.parse().unwrap()),
            Ok(()),
            "{address}"
        );
    }
}

#[test]
fn exactly_the_networks_that_the_operator_allows_are_let_through() {
    let open = policy(true, &["10.1.0.0/16", "::1/128"]);
    for text in [
        "http://10.1.2.3:8000/",
        "http://[::1]/",
        "http://[::ffff:10.1.2.3]/",
        "http://hooks:8000/",
        "http://localhost/",
        "http://a.svc.cluster.local/",
    ] {
        assert!(Receiver::parse(text, &open).is_ok(), "{text}");
    }
    for text in [
        "http://10.2.0.1/",
        "http://127.0.0.1/",
        "http://[::ffff:10.2.0.1]/",
        "http://[fd00::1]/",
        "http://10.1.2.3:22/",
        "http://10.1/",
        "http://localhost./",
    ] {
        assert!(Receiver::parse(text, &open).is_err(), "{text}");
    }
}

/// A URL that may or may not be one.
fn urls() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        "[a-zA-Z0-9.-]{1,20}",
        "[0-9a-fx.]{1,16}",
        "(25[0-5]|[0-9]{1,3})(\\.[0-9]{1,3}){0,3}",
        "\\[[0-9a-fA-F:.]{2,20}\\]",
        any::<u32>().prop_map(|bits| std::net::Ipv4Addr::from_bits(bits).to_string()),
        any::<u128>().prop_map(|bits| format!("[{}]", Ipv6Addr::from_bits(bits >> 3 | 1 << 125))),
        "[a-z@:\\[\\]%?#]{1,12}\\.com",
    ];
    let port = prop_oneof![Just(String::new()), "(:[0-9]{0,6})", ":[0-9@:]{0,6}"];
    let target = prop_oneof![Just(String::new()), "[/?][!-~]{0,20}"];
    let scheme = prop_oneof![4 => Just("https"), 4 => Just("http"), 1 => Just("ftp")];
    (scheme, host, port, target)
        .prop_map(|(scheme, host, port, target)| format!("{scheme}://{host}{port}{target}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_accepted_is_read_alike_by_every_other_parser(text in urls()) {
        if let Ok(receiver) = Receiver::parse(&text, &policy(true, &[])) {
            let host = receiver.host().to_string();
            // Punycode that is none is refused there and can't be resolved here.
            if let Ok(other) = url::Url::parse(&text) {
                prop_assert_eq!(other.host_str(), Some(host.as_str()));
                prop_assert_eq!(other.port_or_known_default(), Some(receiver.port()));
                prop_assert_eq!(other.scheme() == "https", receiver.is_tls());
            } else {
                prop_assert!(text.contains("xn--"), "{}", text);
            }
            let uri: http::Uri = receiver.url().parse().unwrap();
            prop_assert_eq!(uri.host(), Some(host.as_str()));
            prop_assert_eq!(uri.port_u16().unwrap_or(scheme_port(receiver.is_tls())), receiver.port());
            prop_assert_eq!(uri.path_and_query(), Some(receiver.target()));
            prop_assert_eq!(Receiver::parse(&receiver.url(), &policy(true, &[])), Ok(receiver));
        }
    }

    #[test]
    fn no_text_makes_the_parser_fail(text in "\\PC{0,60}|https?://\\PC{0,60}") {
        Receiver::parse(&text, &policy(true, &["10.0.0.0/8"])).ok();
    }
}
