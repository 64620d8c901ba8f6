//! Challenge of a registry, by which it says how a client proves who it is.

/// How a registry wants to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password with each request.
    Basic,
    /// A token, which another address gives for user and password, or to anyone.
    Bearer {
        /// Address that gives tokens.
        realm: String,
        /// Service that the token is for. Empty: not said.
        service: String,
        /// Scope that the registry asks for. Empty: not said.
        scope: String,
    },
    /// Another way, by its word.
    Other(String),
}

/// Reads a `WWW-Authenticate` header.
pub(super) fn read(header: &str) -> Challenge {
    let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Challenge::Basic;
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Challenge::Other(scheme.chars().take(40).collect());
    }
    let all = parameters(rest);
    let of = |wanted: &str| {
        let found = all.iter().find(|(key, _)| key.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    Challenge::Bearer { realm: of("realm"), service: of("service"), scope: of("scope") }
}

/// Divides `a="b",c="d,e"` into pairs.
fn parameters(text: &str) -> Vec<(String, String)> {
    let (mut all, mut key, mut value) = (Vec::new(), String::new(), String::new());
    let (mut quoted, mut escaped, mut in_value) = (false, false, false);
    for one in text.chars() {
        match one {
            _ if escaped => {
                value.push(one);
                escaped = false;
            }
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '=' if !in_value => in_value = true,
            ',' if !quoted => {
                all.push((std::mem::take(&mut key), std::mem::take(&mut value)));
                in_value = false;
            }
            _ if in_value => value.push(one),
            ' ' => {}
            _ => key.push(one),
        }
    }
    if !key.is_empty() {
        all.push((key, value));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_of_registries_are_read() {
        let bearer = |realm: &str, service: &str, scope: &str| Challenge::Bearer {
            realm: realm.into(),
            service: service.into(),
            scope: scope.into(),
        };
        for (header, read_as) in [
            ("Basic realm=\"hf\"", Challenge::Basic),
            ("basic", Challenge::Basic),
            ("Negotiate", Challenge::Other("Negotiate".into())),
            (
                "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:library/nginx:pull\"",
                bearer(
                    "https://auth.docker.io/token",
                    "registry.docker.io",
                    "repository:library/nginx:pull",
                ),
            ),
            (
                "Bearer realm=\"https://r.example/t?a=b\", service=r.example, scope=\"repository:a:pull,push\"",
                bearer("https://r.example/t?a=b", "r.example", "repository:a:pull,push"),
            ),
            ("Bearer scope=\"a\\\"b\"", bearer("", "", "a\"b")),
            ("Bearer", bearer("", "", "")),
        ] {
            assert_eq!(read(header), read_as, "{header}");
        }
    }
}
