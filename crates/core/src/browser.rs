//! The browser and system that a `User-Agent` header names, in plain words: `Firefox on Linux`.
//!
//! People recognise their own sessions by it. A client can send any `User-Agent`, so nothing is decided by it.

/// The most bytes of a `User-Agent` that are examined.
const LOOKED_AT: usize = 1000;

/// Tokens of a `User-Agent` with the browser they indicate. The first match counts: most browsers also name others.
const BROWSERS: [(&str, &str); 14] = [
    ("SamsungBrowser/", "Samsung Internet"),
    ("YaBrowser/", "Yandex Browser"),
    ("Vivaldi/", "Vivaldi"),
    ("OPR/", "Opera"),
    ("OPT/", "Opera"),
    ("Edg", "Edge"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Firefox/", "Firefox"),
    ("HeadlessChrome/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
    ("Wget/", "Wget"),
];
const SYSTEMS: [(&str, &str); 10] = [
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Macintosh", "macOS"),
    ("FreeBSD", "FreeBSD"),
    ("OpenBSD", "OpenBSD"),
    ("Linux", "Linux"),
    ("X11", "Unix"),
];

/// The browser and its system, as far as they can be recognised.
pub fn in_words(user_agent: &str) -> String {
    let end = (0..=LOOKED_AT.min(user_agent.len())).rev().find(|end| user_agent.is_char_boundary(*end));
    let text = &user_agent[..end.unwrap_or(0)];
    let named = |known: &[(&str, &'static str)]| {
        known.iter().find(|(mark, _)| text.contains(mark)).map(|(_, name)| *name)
    };
    match (named(&BROWSERS), named(&SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        (None, Some(system)) => format!("a browser on {system}"),
        (None, None) => "an unknown browser".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_known_by_what_they_send() {
        for (user_agent, words) in [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36",
                "Chrome on Windows",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36 Edg/139.0.0.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
                "Safari on macOS",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/139.0 Mobile/15E148 Safari/604.1",
                "Chrome on iPhone",
            ),
            (
                "Mozilla/5.0 (Linux; Android 15; SM-S921B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
                "Samsung Internet on Android",
            ),
            (
                "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36 OPR/120.0",
                "Opera on ChromeOS",
            ),
            ("curl/8.14.1", "curl"),
            ("Mozilla/5.0 (X11; NetBSD amd64)", "a browser on Unix"),
            ("<script>alert(1)</script>", "an unknown browser"),
            ("", "an unknown browser"),
        ] {
            assert_eq!(in_words(user_agent), words, "{user_agent}");
        }
        assert_eq!(in_words(&"ä".repeat(100_000)), "an unknown browser");
        assert_eq!(in_words(&format!("{}Firefox/1", "x".repeat(1000))), "an unknown browser");
    }
}
