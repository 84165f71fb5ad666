//! What is written is read again, and nothing that is read does harm.

use std::collections::BTreeMap;
use std::io::Cursor;

use super::*;

type Content = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>;

fn write(content: &Content) -> Vec<u8> {
    let mut writer = Writer::new(Cursor::new(Vec::new())).expect("memory");
    for (name, pairs) in content {
        writer.bucket(name).expect("memory");
        for (key, value) in pairs {
            writer.put(key, value).expect("memory");
        }
    }
    let (out, bytes) = writer.finish().expect("memory");
    assert_eq!(out.get_ref().len() as u64, bytes);
    out.into_inner()
}

fn read(file: &[u8]) -> Result<Content, Fault> {
    let mut content = Content::new();
    let mut name = Vec::new();
    Db::open(file)?.for_each::<Fault>(&mut |item| {
        match item {
            Item::Bucket(bucket) => {
                name = bucket.to_vec();
                content.insert(name.clone(), BTreeMap::new());
            }
            Item::Pair(key, value) => {
                content.entry(name.clone()).or_default().insert(key.to_vec(), value.to_vec());
            }
        }
        Ok(())
    })?;
    Ok(content)
}

/// Numbers that look random.
fn draws(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

fn content(seed: u64, buckets: u64, pairs: u64, value_bytes: u64) -> Content {
    let mut draw = draws(seed);
    let mut content = Content::new();
    for bucket in 0..buckets {
        let pairs = (0..draw(pairs + 1)).map(|_| {
            let key = format!("{:0width$}", draw(1 << 30), width = 1 + draw(60) as usize);
            (key.into_bytes(), vec![b'v'; draw(value_bytes) as usize])
        });
        content.insert(format!("bucket {bucket}").into_bytes(), pairs.collect());
    }
    content
}

#[test]
fn what_is_written_is_read() {
    let shapes =
        [(0, 0, 1), (1, 0, 1), (3, 1, 1), (10, 30, 40), (2, 4_000, 300), (2, 20, 20_000), (400, 3, 9)];
    for (seed, (buckets, pairs, value_bytes)) in shapes.into_iter().enumerate() {
        let content = content(seed as u64, buckets, pairs, value_bytes);
        assert_eq!(read(&write(&content)).expect("a whole file"), content);
    }
}

/// Keys that fill a page by themselves: branches must have two children all the same.
#[test]
fn keys_may_be_larger_than_a_page() {
    let pairs: BTreeMap<_, _> = (0..50).map(|n| ([vec![n], vec![b'k'; 9_000]].concat(), vec![n])).collect();
    let content = Content::from([(b"key".to_vec(), pairs)]);
    assert_eq!(read(&write(&content)).expect("a whole file"), content);
}

#[test]
fn many_small_pairs_are_three_levels_of_pages() {
    let mut writer = Writer::new(Cursor::new(Vec::new())).expect("memory");
    writer.bucket(b"key").expect("memory");
    for n in 0_u64..200_000 {
        writer.put(&n.to_be_bytes(), &[]).expect("memory");
    }
    let (out, _) = writer.finish().expect("memory");
    let mut next = 0_u64;
    let db = Db::open(out.get_ref().as_slice()).expect("a whole file");
    db.for_each::<Fault>(&mut |item| {
        if let Item::Pair(key, _) = item {
            assert_eq!(key, next.to_be_bytes());
            next += 1;
        }
        Ok(())
    })
    .expect("a whole file");
    assert_eq!(next, 200_000);
}

/// What stands behind the pages does no harm: a checksum, say.
#[test]
fn one_meta_that_is_whole_is_enough() {
    let content = content(5, 3, 200, 50);
    let file = write(&content);
    for meta in 0..2 {
        let mut torn = file.clone();
        torn[meta * PAGE_BYTES + HEADER_BYTES + 20] ^= 1;
        assert_eq!(read(&torn).expect("the other one counts"), content);
        torn[(1 - meta) * PAGE_BYTES + HEADER_BYTES + 20] ^= 1;
        assert_eq!(read(&torn).expect_err("none is left").to_string(), "invalid database");
    }
    let mut longer = file.clone();
    longer.extend_from_slice(&[7; 32]);
    assert_eq!(Db::open(longer.as_slice()).expect("a whole file").bytes(), file.len() as u64);
    assert_eq!(read(&longer).expect("a whole file"), content);
}

#[test]
fn no_byte_of_a_file_can_do_harm() {
    let mut draw = draws(9);
    let file = write(&content(3, 6, 400, 200));
    let mut refused = 0;
    for _ in 0..3_000 {
        let mut bad = file.clone();
        for _ in 0..=draw(3) {
            // Heads of pages and elements more often than the rest.
            let page = draw((file.len() / PAGE_BYTES) as u64) as usize;
            let within = if draw(2) == 0 { 200 } else { PAGE_BYTES as u64 };
            let at = page * PAGE_BYTES + draw(within) as usize;
            bad[at] = draw(256) as u8;
        }
        bad.truncate(file.len() - if draw(8) == 0 { draw(file.len() as u64) as usize } else { 0 });
        // The metas stand behind a checksum; this way what lies behind it is reached as well.
        for meta in [0, PAGE_BYTES].map(|at| at + HEADER_BYTES) {
            if let Some(bytes) = bad.get_mut(meta..meta + META_BYTES) {
                let sum = fnv(&bytes[..META_SUMMED_BYTES]);
                bytes[META_SUMMED_BYTES..].copy_from_slice(&sum.to_le_bytes());
            }
        }
        refused += u32::from(read(&bad).is_err());
    }
    assert!(refused > 1_500, "{refused} of 3,000");
}
