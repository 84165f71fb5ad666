//! A YAML document as a small tree whose scalars are still text.
//! The parser hands out events; nothing resolves `007` to a number or `on` to a bool before the flag that
//! reads it has a say.

use saphyr_parser::{Event, Parser, ScalarStyle};

/// Deeper files are refused: the deepest key of etcd's lies at 4.
const DEPTH_MAX: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// `plain`: written without quotes, so that `null` and nothing at all mean nothing.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    /// Keys in the order of the file, repeated ones included.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The value at a path of keys joined with `/`; of equal keys the last one, case apart, as in etcd's reader.
    pub fn at(&self, path: &str) -> Option<&Node> {
        path.split('/').try_fold(self, |node, key| match node {
            Node::Map(entries) => {
                let found = entries.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case(key));
                found.map(|(_, value)| value)
            }
            _ => None,
        })
    }

    pub fn is_null(&self) -> bool {
        match self {
            Node::Scalar { text, plain: true } => {
                matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            _ => false,
        }
    }

    /// Null, or what sets nothing: an empty text, false, 0, an empty list or map.
    pub fn is_empty(&self) -> bool {
        match self {
            Node::Scalar { text, .. } => self.is_null() || matches!(text.as_str(), "" | "0" | "false"),
            Node::List(items) => items.is_empty(),
            Node::Map(entries) => entries.is_empty(),
        }
    }
}

/// A list or map whose end has not been seen; a map also holds the key that waits for its value.
enum Open {
    List(Vec<Node>),
    Map(Vec<(String, Node)>, Option<String>),
}

/// The first document; None for a file without any.
/// Errors: the parser's text with line and column, or what this reader does not take.
pub fn parse(text: &str) -> Result<Option<Node>, String> {
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| format!("yaml: {error}"))?;
        let line = span.start.line();
        let done = match event {
            Event::Scalar(text, style, ..) => {
                Node::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain }
            }
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                if open.len() == DEPTH_MAX {
                    return Err(format!("yaml: line {line}: nested deeper than {DEPTH_MAX}"));
                }
                let is_list = matches!(event, Event::SequenceStart(..));
                open.push(if is_list { Open::List(Vec::new()) } else { Open::Map(Vec::new(), None) });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(items)) => Node::List(items),
                Some(Open::Map(entries, _)) => Node::Map(entries),
                None => return Err(format!("yaml: line {line}: an end without a beginning")),
            },
            Event::Alias(_) => return Err(format!("yaml: line {line}: aliases are not supported yet")),
            Event::Nothing | Event::StreamStart | Event::StreamEnd => continue,
            Event::DocumentStart(_) | Event::DocumentEnd => continue,
        };
        match open.last_mut() {
            None => return Ok(Some(done)),
            Some(Open::List(items)) => items.push(done),
            Some(Open::Map(entries, key)) => match (key.take(), done) {
                (Some(key), value) => entries.push((key, value)),
                (None, Node::Scalar { text, .. }) => *key = Some(text),
                (None, _) => return Err(format!("yaml: line {line}: a key must be a text")),
            },
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(text: &str, plain: bool) -> Option<Node> {
        Some(Node::Scalar { text: text.to_owned(), plain })
    }

    #[test]
    fn scalars_stay_text() {
        let root = parse("A: 007\nb: 'null'\nc:\nd: {e: [x, \"y\"]}\na: 8 # again\n")
            .expect("good YAML")
            .expect("a map");
        assert_eq!(root.at("a").cloned(), scalar("8", true));
        assert_eq!(root.at("b").cloned(), scalar("null", false));
        assert!(root.at("c").is_some_and(Node::is_null));
        assert!(!root.at("b").is_some_and(Node::is_null));
        assert_eq!(root.at("d/e").map(Node::is_empty), Some(false));
        assert_eq!(root.at("d/f"), None);
        assert_eq!(root.at("a/b"), None);
    }

    #[test]
    fn json_is_yaml() {
        let root = parse("{\n\t\"a\": \"x\\u0041\",\n\t\"b\": {\"c\": true}\n}\n")
            .expect("good JSON")
            .expect("a map");
        assert_eq!(root.at("a").cloned(), scalar("xA", false));
        assert_eq!(root.at("b/c").cloned(), scalar("true", true));
    }

    #[test]
    fn empty_files_have_no_document() {
        assert_eq!(parse(""), Ok(None));
        assert_eq!(parse("# nothing\n"), Ok(None));
    }

    #[test]
    fn refuses_what_it_cannot_keep() {
        for text in ["a: [b", "a: &x 1\nb: *x\n", "? [a]\n: b\n", &"[".repeat(20)] {
            assert!(parse(text).is_err_and(|error| error.starts_with("yaml: ")), "{text}");
        }
    }
}
