//! The layers of a configuration: defaults < file < environment < arguments.
//!
//! The only place that knows figment, which merges the layers and remembers where each value came
//! from. Never here: what a value means.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use figment::{
    Figment, Metadata, Profile, Provider,
    value::{Dict, Map, Value as FigmentValue},
};
use toml::{Table, Value};

use super::{
    problem::{Problem, Source},
    schema::{self, Kind, Secrecy, Setting},
};

/// What a configuration is made of.
///
/// The environment is an argument: it is read once, where the process begins.
#[derive(Clone, Default)]
pub struct Inputs {
    /// The file, if one is named; it must exist then.
    pub file: Option<PathBuf>,
    /// The environment. Variables that do not begin with `BUSWIRE_` are not looked at.
    pub environment: Vec<(String, String)>,
    /// Pairs of key and value of `--set`, the last one wins.
    pub arguments: Vec<(String, String)>,
}

impl fmt::Debug for Inputs {
    /// Leaves out the environment and the arguments, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inputs").field("file", &self.file).finish_non_exhaustive()
    }
}

/// A value and where it was written.
#[derive(Clone)]
pub(crate) struct RawValue {
    pub value: Value,
    pub source: Source,
}

impl fmt::Debug for RawValue {
    /// Shows the source alone: the value may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawValue").field("source", &self.source).finish_non_exhaustive()
    }
}

/// What the operator wrote: every known key that has a value. Not checked beyond the keys.
#[derive(Clone, Debug)]
pub(crate) struct RawConfig {
    pub values: BTreeMap<&'static str, RawValue>,
}

/// Variables that begin with `BUSWIRE_` but belong to the command line or to the tests.
const OTHER_VARIABLES: [&str; 8] = [
    "BUSWIRE_ADMIN",
    "BUSWIRE_ADMIN_TOKEN",
    "BUSWIRE_ADMIN_TOKEN_FILE",
    "BUSWIRE_BIN",
    "BUSWIRE_CONFIG",
    "BUSWIRE_PYTHON",
    "BUSWIRE_REGENERATE",
    "BUSWIRE_REQUIRE_REDIS",
];

/// One layer, as a figment provider. Its name is its number, by which its source is found again.
struct Layer {
    number: usize,
    table: Table,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.number.to_string())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let dict = match FigmentValue::serialize(&self.table)? {
            FigmentValue::Dict(_, dict) => dict,
            _ => Dict::new(),
        };
        Ok(Map::from([(Profile::Default, dict)]))
    }
}

/// A value of a known key, from one layer.
struct Written {
    setting: &'static Setting,
    value: Value,
    source: Source,
}

/// Merges the layers. Returns what is known, with every problem of a layer or a key.
pub(crate) fn merge(inputs: &Inputs) -> (RawConfig, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut written = defaults();
    if let Some(path) = &inputs.file {
        written.extend(file(path, &mut problems));
    }
    written.extend(environment(&inputs.environment, &mut problems));
    written.extend(arguments(&inputs.arguments, &mut problems));

    let mut figment = Figment::new();
    let mut sources = Vec::with_capacity(written.len());
    for (number, Written { setting, value, source }) in written.into_iter().enumerate() {
        figment = figment.merge(Layer { number, table: nest(setting.key, value) });
        sources.push(source);
    }
    let values = schema::all()
        .filter_map(|setting| {
            let value = figment.find_value(setting.key).ok()?;
            let number: usize = figment.get_metadata(value.tag())?.name.parse().ok()?;
            let value = value.deserialize().ok()?;
            Some((setting.key, RawValue { value, source: sources.get(number)?.clone() }))
        })
        .collect();
    (RawConfig { values }, problems)
}

/// A table that holds `value` under `key`.
fn nest(key: &str, value: Value) -> Table {
    let mut names = key.rsplit('.');
    let innermost = names.next().unwrap_or_default();
    let table = Table::from_iter([(innermost.to_owned(), value)]);
    names.fold(table, |inner, name| Table::from_iter([(name.to_owned(), Value::Table(inner))]))
}

fn defaults() -> Vec<Written> {
    schema::all()
        .filter_map(|setting| {
            let value = parse_value(setting.default?).ok()?;
            Some(Written { setting, value, source: Source::Default })
        })
        .collect()
}

fn file(path: &Path, problems: &mut Vec<Problem>) -> Vec<Written> {
    let source = Source::File(path.to_owned());
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            problems.push(Problem::new("--config", format!("can't be read: {error}"), source));
            return Vec::new();
        }
    };
    let table = match text.parse::<Table>() {
        Ok(table) => table,
        Err(error) => {
            let line = error.span().map_or(1, |span| {
                1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count()
            });
            let message = error.message().replace('\n', ", ");
            problems.push(Problem::new(format!("line {line}"), message, source));
            return Vec::new();
        }
    };
    let mut written = Vec::new();
    walk("", table, &source, &mut written, problems);
    written
}

/// Finds the settings of `table`, which stands under `prefix`.
fn walk(
    prefix: &str,
    table: Table,
    source: &Source,
    written: &mut Vec<Written>,
    problems: &mut Vec<Problem>,
) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match (known(&key), value) {
            (Ok(setting), value) => {
                written.push(Written { setting, value, source: source.clone() });
            }
            (Err(_), Value::Table(inner)) if schema::is_table(&key) => {
                walk(&key, inner, source, written, problems);
            }
            (Err(message), _) => problems.push(Problem::new(key, message, source.clone())),
        }
    }
}

/// The setting of `key`, or why there is none.
fn known(key: &str) -> Result<&'static Setting, String> {
    schema::find(key).ok_or_else(|| {
        if schema::is_table(key) {
            "is a table of settings, not a value".to_owned()
        } else {
            schema::similar(key).map_or_else(
                || "there is no such setting".to_owned(),
                |similar| format!("there is no such setting; {similar} is meant?"),
            )
        }
    })
}

fn environment(variables: &[(String, String)], problems: &mut Vec<Problem>) -> Vec<Written> {
    let mut written = Vec::new();
    let mut set_by: BTreeMap<&str, &str> = BTreeMap::new();
    let mut sorted: Vec<_> = variables.iter().collect();
    sorted.sort();
    for (name, text) in sorted {
        let Some(rest) = name.strip_prefix("BUSWIRE_") else { continue };
        if OTHER_VARIABLES.contains(&name.as_str()) {
            continue;
        }
        let key = rest.to_ascii_lowercase().replace("__", ".");
        let found = match (known(&key), secret_of(&key)) {
            (Ok(setting), _) => Ok(Written {
                setting,
                value: interpret(setting.kind, text),
                source: Source::Environment(name.clone()),
            }),
            (Err(_), Some(setting)) => secret_file(setting, text),
            (Err(_), None) if is_of_an_orchestrator(rest) => continue,
            (Err(message), None) => {
                Err(Problem::new(key, message, Source::Environment(name.clone())))
            }
        };
        match found {
            Ok(one) => {
                if let Some(other) = set_by.insert(one.setting.key, name) {
                    let source = Source::Environment(name.clone());
                    let message = format!("is set by {other} too");
                    problems.push(Problem::new(one.setting.key, message, source));
                }
                written.push(one);
            }
            Err(problem) => problems.push(problem),
        }
    }
    written
}

/// Whether Kubernetes makes such a variable for a service that is called `buswire`.
fn is_of_an_orchestrator(rest: &str) -> bool {
    !rest.contains("__")
        && (rest == "PORT"
            || rest.starts_with("PORT_")
            || rest.contains("_PORT_")
            || rest.contains("SERVICE_HOST")
            || rest.contains("SERVICE_PORT")
            || rest.ends_with("_PORT"))
}

/// The secret setting whose file `key` names, as `admin.token_file` names that of `admin.token`.
fn secret_of(key: &str) -> Option<&'static Setting> {
    let setting = schema::find(key.strip_suffix("_file")?)?;
    (setting.secrecy != Secrecy::Shown).then_some(setting)
}

fn secret_file(setting: &'static Setting, path: &str) -> Result<Written, Problem> {
    let source = Source::SecretFile(PathBuf::from(path));
    match fs::read_to_string(path) {
        Ok(text) => Ok(Written {
            setting,
            value: Value::String(text.trim_end_matches(['\r', '\n']).to_owned()),
            source,
        }),
        Err(error) => Err(Problem::new(setting.key, format!("can't be read: {error}"), source)),
    }
}

fn arguments(pairs: &[(String, String)], problems: &mut Vec<Problem>) -> Vec<Written> {
    let mut written = Vec::new();
    for (key, text) in pairs {
        match known(key) {
            Ok(setting) => written.push(Written {
                setting,
                value: interpret(setting.kind, text),
                source: Source::Argument,
            }),
            Err(message) => problems.push(Problem::new(key, message, Source::Argument)),
        }
    }
    written
}

/// Reads one TOML value.
fn parse_value(text: &str) -> Result<Value, toml::de::Error> {
    let mut table = format!("it = {text}").parse::<Table>()?;
    Ok(table.remove("it").unwrap_or_else(|| Value::Table(Table::new())))
}

/// Makes a value of a bare text as it stands in the environment or behind `--set`.
///
/// What can't be read stays text, and whoever reads the value says what was expected.
fn interpret(kind: Kind, text: &str) -> Value {
    let bare = || Value::String(text.to_owned());
    let quoted = text.len() >= 2 && text.starts_with('"') && text.ends_with('"');
    match kind {
        _ if quoted => parse_value(text).unwrap_or_else(|_| bare()),
        Kind::Flag => text.parse().map_or_else(|_| bare(), Value::Boolean),
        Kind::Count { .. } => text.parse().map_or_else(|_| bare(), Value::Integer),
        Kind::Texts if text.trim().is_empty() => Value::Array(Vec::new()),
        Kind::Texts if !text.trim_start().starts_with('[') => Value::Array(
            text.split(',').map(|item| Value::String(item.trim().to_owned())).collect(),
        ),
        Kind::Texts | Kind::Tables => parse_value(text).unwrap_or_else(|_| bare()),
        Kind::Text
        | Kind::Path
        | Kind::Address
        | Kind::Url
        | Kind::Time { .. }
        | Kind::Size { .. }
        | Kind::Choice(_) => bare(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn merged(
        file: &str,
        environment: &[(&str, &str)],
        arguments: &[(&str, &str)],
    ) -> (RawConfig, Vec<Problem>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("buswire.toml");
        fs::write(&path, file).unwrap();
        merge(&Inputs {
            file: Some(path),
            environment: pairs(environment),
            arguments: pairs(arguments),
        })
    }

    #[test]
    fn a_later_layer_wins_and_is_named() {
        let key = "http.listen";
        let file = "[http]\nlisten = \"127.0.0.1:2\"";
        let environment = [("BUSWIRE_HTTP__LISTEN", "127.0.0.1:3")];
        let arguments = [("http.listen", "127.0.0.1:4"), ("http.listen", "127.0.0.1:5")];
        let value = |(raw, problems): (RawConfig, Vec<Problem>)| {
            assert_eq!(problems, []);
            let found = raw.values.get(key).unwrap();
            (found.value.as_str().unwrap().to_owned(), found.source.clone())
        };
        assert_eq!(value(merged("", &[], &[])), ("127.0.0.1:8080".to_owned(), Source::Default));
        let (text, source) = value(merged(file, &[], &[]));
        assert!(text == "127.0.0.1:2" && matches!(source, Source::File(_)));
        let (text, source) = value(merged(file, &environment, &[]));
        assert_eq!(text, "127.0.0.1:3");
        assert_eq!(source, Source::Environment("BUSWIRE_HTTP__LISTEN".to_owned()));
        let (text, source) = value(merged(file, &environment, &arguments));
        assert_eq!((text.as_str(), source), ("127.0.0.1:5", Source::Argument));
    }

    proptest! {
        #[test]
        fn the_last_layer_that_has_a_value_wins(layers in proptest::collection::vec(any::<bool>(), 3)) {
            let has = |layer: usize| layers.get(layer).copied().unwrap_or_default();
            let file = if has(0) { "mdp.max_attempts = 11" } else { "" };
            let environment = [("BUSWIRE_MDP__MAX_ATTEMPTS", "12")];
            let arguments = [("mdp.max_attempts", "13")];
            let (raw, problems) = merged(
                file,
                environment.get(..usize::from(has(1))).unwrap_or_default(),
                arguments.get(..usize::from(has(2))).unwrap_or_default(),
            );
            prop_assert_eq!(problems, []);
            let expect = (0..3).rev().find(|layer| has(*layer)).map_or(2, |layer| [11, 12, 13][layer]);
            prop_assert_eq!(raw.values["mdp.max_attempts"].value.as_integer(), Some(expect));
        }
    }

    #[test]
    fn every_unknown_key_is_reported_with_its_source() {
        let (_, problems) = merged(
            "data-dir = 1\nhttp = 3\n[mdp]\nfoo = 1\n[nonsense]\na = 1\nb = 2",
            &[("BUSWIRE_HTTP__NOPE", "1"), ("BUSWIRE_HTTP", "x"), ("OTHER", "1")],
            &[("opps.listen", "1")],
        );
        let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
        for key in ["data-dir", "http", "mdp.foo", "nonsense", "http.nope", "opps.listen"] {
            assert!(keys.contains(&key), "{key} is missing of {problems:?}");
        }
        assert_eq!(keys.len(), 7);
        assert!(problems[0].message.contains("data_dir is meant"), "{}", problems[0]);
    }

    #[test]
    fn variables_of_others_are_left_alone() {
        let (_, problems) = merged(
            "",
            &[
                ("BUSWIRE_ADMIN", "http://127.0.0.1:1"),
                ("BUSWIRE_ADMIN_TOKEN", "t"),
                ("BUSWIRE_PORT", "tcp://10.0.0.1:80"),
                ("BUSWIRE_PORT_80_TCP_ADDR", "10.0.0.1"),
                ("BUSWIRE_SERVICE_HOST", "10.0.0.1"),
                ("BUSWIRE_ADMIN_SERVICE_PORT", "1"),
            ],
            &[],
        );
        assert_eq!(problems, []);
        let (_, problems) = merged("", &[("BUSWIRE_DATADIR", "x")], &[]);
        assert_eq!(problems.len(), 1);
    }

    #[test]
    fn a_secret_may_come_from_a_file_but_only_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "from-a-file\n").unwrap();
        let variable = ("BUSWIRE_ADMIN__TOKEN_FILE", path.to_str().unwrap());
        let (raw, problems) = merged("", &[variable], &[]);
        assert_eq!(problems, []);
        assert_eq!(raw.values["admin.token"].value.as_str(), Some("from-a-file"));
        let (_, problems) = merged("", &[variable, ("BUSWIRE_ADMIN__TOKEN", "x")], &[]);
        assert_eq!(problems.len(), 1);
        let (_, problems) = merged("", &[("BUSWIRE_ADMIN__TOKEN_FILE", "/nowhere/at/all")], &[]);
        assert!(problems[0].to_string().contains("secret file /nowhere/at/all"), "{problems:?}");
        let (_, problems) = merged("", &[("BUSWIRE_HTTP__LISTEN_FILE", "x")], &[]);
        assert_eq!(problems[0].key, "http.listen_file");
    }

    #[test]
    fn a_broken_file_is_one_problem_with_its_line() {
        let (raw, problems) = merged("data_dir = \"x\"\nhttp.listen = \n", &[], &[]);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].key, "line 2");
        assert_eq!(raw.values["data_dir"].source, Source::Default);
    }

    #[test]
    fn bare_texts_become_what_the_setting_takes() {
        let texts = Kind::Texts;
        assert_eq!(interpret(texts, "a, b"), parse_value(r#"["a", "b"]"#).unwrap());
        assert_eq!(interpret(texts, r#"["a,b"]"#), parse_value(r#"["a,b"]"#).unwrap());
        assert_eq!(interpret(texts, ""), Value::Array(Vec::new()));
        assert_eq!(interpret(Kind::Text, "12"), Value::String("12".to_owned()));
        assert_eq!(interpret(Kind::Text, "\"x\""), Value::String("x".to_owned()));
        assert_eq!(interpret(Kind::Flag, "true"), Value::Boolean(true));
        assert_eq!(interpret(Kind::Count { min: 0, max: 9 }, "7"), Value::Integer(7));
        let tables = interpret(Kind::Tables, r#"[{name = "a"}]"#);
        assert_eq!(tables.as_array().map(Vec::len), Some(1));
    }
}
