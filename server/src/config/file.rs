//! Settings from the config file.
//! Every scalar stays the text it is until its flag's kind reads it, so that `name: 007` and
//! `auto-compaction-retention: 1` mean what they mean on the command line.
//! Source: etcd v3.7.1 server/embed/config.go (configYAML, configFromFile).

use super::flags::{FILE_ONLY, FLAGS};
use super::table::{FILE_ONLY_NOT_YET, Flag, Kind};
use super::value::{Settings, Value};
use super::yaml::{self, Node};

/// Reads YAML, of which JSON is a part. Keys that no flag has are ignored, as etcd ignores them.
/// Errors: what is wrong and at which key.
pub fn parse(text: &str) -> Result<Settings, String> {
    let mut settings = Settings::default();
    let root = yaml::parse(text)?.filter(|root| !root.is_null());
    let Some(root) = root else { return Ok(settings) };
    if !matches!(root, Node::Map(_)) {
        return Err("the config file is not a map".to_owned());
    }
    for section in
        ["client-transport-security", "peer-transport-security", "discovery-config", "socket-options"]
    {
        if root.at(section).is_some_and(|node| !matches!(node, Node::Map(_)) && !node.is_null()) {
            return Err(format!("invalid {section}"));
        }
    }
    for path in FILE_ONLY_NOT_YET {
        if root.at(path).is_some_and(|node| !node.is_empty()) {
            return Err(format!("{path} in the config file is not supported yet"));
        }
    }
    for flag in FLAGS.iter().chain(FILE_ONLY).filter(|flag| !flag.file_key.is_empty()) {
        let Some(node) = root.at(flag.file_key).filter(|node| !node.is_null()) else { continue };
        let value = read(flag, node).map_err(|reason| match (flag.name, node) {
            ("initial-cluster-state", Node::Scalar { text, .. }) => {
                format!("unexpected clusterState {text:?}")
            }
            _ => format!("{}: {reason}", flag.file_key.replace('/', ".")),
        })?;
        settings.set(flag, value);
    }
    Ok(settings)
}

/// A value of the file as its flag reads it.
fn read(flag: &Flag, node: &Node) -> Result<Value, String> {
    let text = match node {
        Node::Scalar { text, .. } => text.clone(),
        Node::List(items) if matches!(flag.kind, Kind::Set | Kind::List) => {
            let mut texts = Vec::new();
            for item in items {
                let Node::Scalar { text, .. } = item else {
                    return Err("expected a list of texts".to_owned());
                };
                texts.push(text.clone());
            }
            texts.join(",")
        }
        Node::List(_) => return Err("a list is not expected here".to_owned()),
        Node::Map(_) => return Err("a map is not expected here".to_owned()),
    };
    let invalid = |reason: String| format!("invalid value {text:?}: {reason}");
    match flag.kind {
        Kind::Bool => {
            read_bool(&text).map(Value::Bool).ok_or_else(|| invalid("expected true or false".to_owned()))
        }
        // Go reads durations of a file as numbers of nanoseconds only; the text form is taken as well.
        Kind::Duration => match text.parse() {
            Ok(nanoseconds) => Ok(Value::Duration(nanoseconds)),
            Err(_) => Value::parse(flag.kind, &text).map_err(invalid),
        },
        // Empty and absent are one in the file for what etcd keeps as one string there.
        Kind::OneOf(_) | Kind::SomeOf(_) | Kind::Origins if text.is_empty() => Ok(flag.default_value()),
        _ => Value::parse(flag.kind, &text).map_err(invalid),
    }
}

/// The words of YAML 1.1, which etcd's reader follows.
fn read_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => Some(true),
        "false" | "no" | "off" | "n" => Some(false),
        _ => None,
    }
}
