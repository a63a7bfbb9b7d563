//! Addresses that the gateway asks over HTTP: how they are written, and which machines they may lead to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses of cloud machines' own data that are not link-local, and so are not refused as such.
const METADATA: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// An address that a manifest may name: `https://…`, or `http://…` where the name is one of the cluster or of this machine.
/// Holds no user, no password and no fragment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpUrl(String);

/// Why an address is refused, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadUrl {
    /// What is wrong, as the end of a sentence.
    pub message: &'static str,
    /// What to do.
    pub hint: &'static str,
}

const FORM: &str = "for example https://id.example.com/jwks.json, or http://app/rt inside a cluster";

impl HttpUrl {
    /// Reads `text`.
    ///
    /// # Errors
    /// Another scheme, a user or password, a host that is none, plain HTTP to a name of the internet, or an address that is never
    /// asked (see [`may_reach`]).
    pub fn parse(text: &str) -> Result<Self, BadUrl> {
        let bad = |message| Err(BadUrl { message, hint: FORM });
        let Some((scheme, rest)) = text.split_once("://") else {
            return bad("is not an address");
        };
        if scheme != "https" && scheme != "http" {
            return bad("does not begin with https:// or http://");
        }
        if text.contains('#') {
            return bad("has a fragment (`#`), which servers never see");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte)) {
            return bad("has a character that must be percent-encoded");
        }
        let authority = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
        if authority.contains('@') {
            let hint = "manifests are shown to many eyes: use secretRef, which signs what is asked";
            return Err(BadUrl { message: "has a user or a password in it", hint });
        }
        let Some(host) = host_of(authority) else { return bad("has no host, or a port that is none") };
        match host.parse::<IpAddr>() {
            Ok(ip) if !may_reach(host, ip) => {
                let hint = "link-local addresses and those of cloud machines' own data are never asked";
                Err(BadUrl { message: "names a machine that is never asked", hint })
            }
            _ if scheme == "http" && !is_near(host) => {
                let hint = "write https://; http:// is for names without a dot, those that end with .svc or \
                            .svc.cluster.local, and localhost";
                Err(BadUrl { message: "would send secrets in the clear", hint })
            }
            _ => Ok(Self(text.to_owned())),
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Name or address, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        host_of(&rest[..rest.find(['/', '?']).unwrap_or(rest.len())]).unwrap_or_default()
    }
}

/// The host of `HOST`, `HOST:PORT` or `[ADDRESS]:PORT`, if both are well formed.
fn host_of(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if let Some(port) = port {
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        port.parse::<u16>().ok().filter(|port| digits && *port != 0)?;
    }
    (host.contains(':') || is_name(host)).then_some(host)
}

/// A DNS name or an IPv4 address. A name whose last label is a number is none: resolvers read `2130706433` as an address.
fn is_name(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    let number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    host.len() <= 253 && host.split('.').all(label) && (!number || host.parse::<Ipv4Addr>().is_ok())
}

/// Names that do not leave the cluster or the machine, so that plain HTTP is as safe as their network.
fn is_near(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let cluster = [".svc", ".svc.cluster.local"].iter().any(|end| host.ends_with(end));
    names_this_machine(&host) || cluster || !host.contains(['.', ':'])
}

/// Whether `host` is this machine by its very name.
fn names_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback())
}

/// Whether a request to `host` may go to `ip`, one of its addresses. Asked with every connection, because names can be made to
/// point anywhere at any time: never to link-local addresses, cloud machines' own data, nobody or everybody, and to this machine only
/// where the name says so itself.
pub fn may_reach(host: &str, ip: IpAddr) -> bool {
    let ip = plain(ip);
    if METADATA.contains(&ip) {
        return false;
    }
    let odd = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast() || ip.is_multicast() || ip.octets()[0] == 0,
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_multicast() || ip.is_unspecified(),
    };
    !odd && (!ip.is_loopback() || names_this_machine(host))
}

/// The IPv4 address that an IPv6 address stands for: mapped, compatible, NAT64 (RFC 6052) or 6to4 (RFC 3056).
fn plain(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(six) = ip else { return ip };
    let four = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match six.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => four(high, low),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => four(high, low),
        [0x2002, high, low, ..] => four(high, low),
        _ => ip,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_are_https_or_near() {
        for (good, host) in [
            ("https://id.example.com/jwks.json", "id.example.com"),
            ("https://id.example.com:8443/a?b=c", "id.example.com"),
            ("https://example.com?x=@", "example.com"),
            ("https://10.0.0.5/keys", "10.0.0.5"),
            ("https://[2001:db8::1]:8443/keys", "2001:db8::1"),
            ("http://app/rt", "app"),
            ("http://app", "app"),
            ("http://app.shop.svc:8080/rt", "app.shop.svc"),
            ("http://app.shop.svc.cluster.local/rt", "app.shop.svc.cluster.local"),
            ("http://localhost:3000/auth", "localhost"),
            ("http://127.0.0.1:3000/auth", "127.0.0.1"),
            ("http://[::1]:3000/auth", "::1"),
        ] {
            assert_eq!(HttpUrl::parse(good).unwrap().host(), host, "{good}");
        }
        for bad in [
            "",
            "id.example.com",
            "ftp://app/x",
            "HTTPS://app/x",
            "file:///etc/passwd",
            "https://",
            "https:///x",
            "https://a b/",
            "https://a/b c",
            "https://a/#x",
            "https://user@a/",
            "https://user:password@a/",
            "https://a@169.254.169.254/",
            "https://a:0/",
            "https://a:65536/",
            "https://a:/",
            "https://a:+1/",
            "https://a..b/",
            "https://-a/",
            "https://[::1/",
            "https://[::1]x/",
            "https://[fe80::1%25eth0]/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://127.1/",
            "https://é.example/",
            "http://id.example.com/jwks.json",
            "http://10.0.0.5/keys",
            "http://app.example.svc.evil.com/",
            "http://[2001:db8::1]/",
            "http://169.254.169.254/latest",
            "https://169.254.169.254/latest",
            "https://[fe80::1]/",
            "https://[::ffff:169.254.169.254]/",
            "https://[64:ff9b::a9fe:a9fe]/",
            "https://0.0.0.0/",
            "https://[::]/",
        ] {
            assert!(HttpUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn some_machines_are_never_reached() {
        let reach = |host: &str, ip: &str| may_reach(host, ip.parse().unwrap());
        for ip in ["10.0.0.1", "192.168.1.1", "93.184.216.34", "2001:db8::1", "fd12::1", "::ffff:10.0.0.1"] {
            assert!(reach("app", ip), "{ip}");
        }
        for ip in [
            "169.254.169.254",
            "169.254.0.1",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "255.255.255.255",
            "224.0.0.1",
            "ff02::1",
        ] {
            assert!(!reach("app", ip) && !reach("localhost", ip), "{ip}");
        }
        for ip in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1"] {
            assert!(!reach("app.example.com", ip), "{ip}: a name that was made to point here");
            assert!(reach("localhost", ip) && reach("127.0.0.1", ip) && reach("::1", ip), "{ip}");
        }
    }
}
