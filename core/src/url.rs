//! The URLs that etcd's flags take: a scheme and an address, nothing else.
//! A general URL library would normalise (drop `:80`, add `/`); member ids are hashes of these texts, so they
//! must stay as etcd keeps them.
//! Source: etcd v3.7.1 client/pkg/types/urls.go (NewURLs); Go net/url (getScheme) for the texts of its
//! errors.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    Http,
    Https,
    Unix,
    Unixs,
}

impl Scheme {
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Unix => "unix",
            Scheme::Unixs => "unixs",
        }
    }

    /// Whether the address is a path and not host and port.
    pub fn is_socket_file(self) -> bool {
        matches!(self, Scheme::Unix | Scheme::Unixs)
    }
}

/// A listen or advertise URL. Displays as etcd's members and logs have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub scheme: Scheme,
    /// Without the brackets of an IPv6 address; for socket files all that follows `//`.
    pub host: String,
    /// 0 when the URL leaves it empty (the system picks one) and for socket files.
    pub port: u16,
    /// `scheme://host:port` as given, scheme in lower case.
    text: String,
}

impl Url {
    /// Errors: etcd's text for what is wrong with `text`.
    pub fn parse(text: &str) -> Result<Url, String> {
        let text = text.trim();
        let (scheme, after) = split_scheme(text)?;
        let scheme = match scheme.as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "unix" => Scheme::Unix,
            "unixs" => Scheme::Unixs,
            _ => return Err(format!("URL scheme must be http, https, unix, or unixs: {text}")),
        };
        let canonical = format!("{}:{after}", scheme.name());
        let address = after.strip_prefix("//");
        if scheme.is_socket_file() {
            let host = address.unwrap_or(after).to_owned();
            return Ok(Url { scheme, host, port: 0, text: canonical });
        }
        let address = address.unwrap_or("");
        let (authority, path) = address.split_at(address.find(['/', '?', '#']).unwrap_or(address.len()));
        if authority.chars().any(|c| c.is_ascii_control() || c.is_whitespace() || "<>\"\\^`{}|@%".contains(c))
        {
            return Err(format!("parse {text:?}: invalid character in host name"));
        }
        if !authority.starts_with('[') && authority.matches(':').count() > 1 {
            let port = &authority[authority.find(':').unwrap_or(0)..];
            return Err(format!("parse {text:?}: invalid port {port:?} after host"));
        }
        let Ok((host, port)) = split_host_port(authority) else {
            return Err(format!("URL address does not have the form \"host:port\": {text}"));
        };
        if !path.is_empty() {
            return Err(format!("URL must not contain a path: {text}"));
        }
        let port = match port {
            "" => 0,
            port => port
                .parse()
                .map_err(|_| format!("parse {text:?}: invalid port {:?} after host", format!(":{port}")))?,
        };
        Ok(Url { scheme, host: host.to_owned(), port, text: canonical })
    }

    /// A comma list, sorted, each URL once.
    pub fn parse_list(text: &str) -> Result<Vec<Url>, String> {
        let mut urls = text.split(',').map(Url::parse).collect::<Result<Vec<Url>, String>>()?;
        urls.sort_by(|a, b| a.text.cmp(&b.text));
        urls.dedup();
        Ok(urls)
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A text that is equal for URLs that name the same place, as far as that is known without asking: host
    /// names other than localhost are compared as they are.
    pub fn comparable(&self) -> String {
        let same =
            if self.host == "localhost" { self.with_host("127.0.0.1", self.port) } else { self.clone() };
        same.text
    }

    /// The same URL at another host.
    pub fn with_host(&self, host: &str, port: u16) -> Url {
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let text = format!("{}://{bracketed}:{port}", self.scheme.name());
        Url { scheme: self.scheme, host: host.to_owned(), port, text }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `a,b` of a list of URLs.
pub fn join(urls: &[Url]) -> String {
    urls.iter().map(Url::as_str).collect::<Vec<&str>>().join(",")
}

/// The scheme in lower case, and what follows its colon.
fn split_scheme(text: &str) -> Result<(String, &str), String> {
    let none = || {
        if text.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return Err(format!("parse {text:?}: first path segment in URL cannot contain colon"));
        }
        Ok((String::new(), text))
    };
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err(format!("parse {text:?}: missing protocol scheme")),
            ':' => return Ok((text[..at].to_ascii_lowercase(), &text[at + 1..])),
            _ => return none(),
        }
    }
    none()
}

/// Host without brackets, and port.
/// Source: Go `net.SplitHostPort`.
fn split_host_port(address: &str) -> Result<(&str, &str), ()> {
    if let Some(after) = address.strip_prefix('[') {
        let (host, rest) = after.split_once(']').ok_or(())?;
        let port = rest.strip_prefix(':').ok_or(())?;
        return if port.contains([':', '[', ']']) { Err(()) } else { Ok((host, port)) };
    }
    let (host, port) = address.split_once(':').ok_or(())?;
    if port.contains(':') || address.contains(['[', ']']) { Err(()) } else { Ok((host, port)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_text() {
        for text in [
            "http://localhost:2379",
            "https://10.0.0.1:80",
            "http://[::1]:2379",
            "unix:///run/etcd.sock",
            "http://:1",
        ] {
            assert_eq!(Url::parse(text).map(|url| url.to_string()), Ok(text.to_owned()));
        }
        let url = Url::parse(" HTTP://[fe80::1]:2379 ").expect("a good URL");
        assert_eq!((url.as_str(), url.host.as_str(), url.port), ("http://[fe80::1]:2379", "fe80::1", 2379));
    }

    #[test]
    fn refuses_in_etcd_s_words() {
        for (text, error) in [
            ("localhost:2379", "URL scheme must be http, https, unix, or unixs: localhost:2379"),
            ("", "URL scheme must be http, https, unix, or unixs: "),
            ("127.0.0.1:2379", "parse \"127.0.0.1:2379\": first path segment in URL cannot contain colon"),
            ("://x", "parse \"://x\": missing protocol scheme"),
            ("http://localhost", "URL address does not have the form \"host:port\": http://localhost"),
            ("http://::1:2379", "parse \"http://::1:2379\": invalid port \"::1:2379\" after host"),
            ("http://[::1]", "URL address does not have the form \"host:port\": http://[::1]"),
            ("http://localhost:1/", "URL must not contain a path: http://localhost:1/"),
            (
                "http://localhost:70000",
                "parse \"http://localhost:70000\": invalid port \":70000\" after host",
            ),
            ("http://a b:1", "parse \"http://a b:1\": invalid character in host name"),
        ] {
            assert_eq!(Url::parse(text), Err(error.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_list_is_sorted_and_each_once() {
        let urls = Url::parse_list("http://b:1, http://a:1,http://b:1").expect("good URLs");
        assert_eq!(join(&urls), "http://a:1,http://b:1");
        assert!(Url::parse_list("http://b:1,").is_err());
    }
}
