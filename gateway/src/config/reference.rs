//! `docs/configuration.md`, made of the one description of every setting.

use std::fmt::Write as _;

use super::{
    print_size, print_time,
    schema::{self, Kind, Secrecy, Setting},
};

const INTRODUCTION: &str = "\
# Configuration

<!-- Generated from gateway/src/config. `BUSWIRE_REGENERATE=1 cargo test -p buswire` writes it. -->

Every setting has a default that works. What overrides what, weakest first:

1. the default,
2. the TOML file named by `--config FILE` (or `BUSWIRE_CONFIG`),
3. the environment: `BUSWIRE_` and the key in capitals, with `__` for each dot
   (`http.tls.cert` is `BUSWIRE_HTTP__TLS__CERT`); lists are separated by commas,
4. `--set KEY=VALUE`, as often as needed.

A secret can also be read from a file: `BUSWIRE_ADMIN__TOKEN_FILE=/run/secrets/token`.

`buswire check-config` prints the configuration in force, with the source of each value and without
secrets, or every problem at once. A configuration with problems is refused with exit code 64 before
any port is bound. SIGHUP checks the file again, reloads certificates and takes over their roles and who
may connect to the MDP broker and what for; other changes need a restart, which the log says.

Lengths of time have a unit: `250ms`, `10s`, `5m`, `8h`, `30d`. Numbers of bytes may have one: `4096`,
`16KiB`, `1MiB`.
";

/// The reference of all settings, in Markdown.
pub fn reference() -> String {
    let mut out = INTRODUCTION.to_owned();
    for group in schema::GROUPS {
        // Writing to a String can't fail.
        let _written = write!(out, "\n## {}\n\n{}\n", group.title, group.about);
        for setting in group.settings {
            let _written =
                write!(out, "\n### `{}`\n\n{}\n\n{}\n", setting.key, setting.about, facts(setting));
        }
    }
    out
}

fn facts(setting: &Setting) -> String {
    let default = setting.default.map_or("none".to_owned(), |text| format!("`{text}`"));
    let secret = match setting.secrecy {
        Secrecy::Shown => String::new(),
        Secrecy::Hidden | Secrecy::HiddenPassword => {
            format!(" or, as a file, `{}_FILE`", setting.variable())
        }
    };
    format!("{} · default {default} · `{}`{secret}", kind(setting.kind), setting.variable())
}

fn kind(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Path => "path".to_owned(),
        Kind::Address => "`HOST:PORT`".to_owned(),
        Kind::Url => "URL".to_owned(),
        Kind::Texts => "list of texts".to_owned(),
        Kind::Flag => "`true` or `false`".to_owned(),
        Kind::Count { min, max } => format!("number from {min} to {max}"),
        Kind::Time { min, max } => {
            format!("time from {} to {}", print_time(min), print_time(max))
        }
        Kind::Size { min, max } => {
            format!("bytes from {} to {}", print_size(min), print_size(max))
        }
        Kind::Choice(words) => {
            words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or ")
        }
        Kind::Tables => "list of tables".to_owned(),
    }
}
