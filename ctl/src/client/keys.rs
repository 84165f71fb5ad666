//! Ranges of keys, as options of commands name them.

/// The end of the range of all keys that begin with `prefix`; a prefix that nothing follows ends with the
/// last key of all.
///
/// Source: etcd 3.7.1 client/v3/op.go (getPrefix).
pub fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    match prefix.iter().rposition(|byte| *byte < 0xff) {
        Some(at) => {
            let mut end = prefix[..=at].to_vec();
            end[at] += 1;
            end
        }
        None => vec![0],
    }
}

/// Key and end of the range of a prefix; the empty prefix is every key.
pub fn prefix_range(prefix: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    if prefix.is_empty() {
        return (vec![0], vec![0]);
    }
    let end = prefix_end(&prefix);
    (prefix, end)
}

/// Key and end of the range from `key` on.
pub fn range_from(key: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    (if key.is_empty() { vec![0] } else { key }, vec![0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        assert_eq!(prefix_end(b"foo"), b"fop");
        assert_eq!(prefix_end(b"a\xff\xff"), b"b");
        assert_eq!(prefix_end(b"\xff"), b"\0");
        assert_eq!(prefix_range(Vec::new()), (vec![0], vec![0]));
        assert_eq!(range_from(b"k".to_vec()), (b"k".to_vec(), vec![0]));
    }
}
