use super::*;

fn disk(loss: [u32; 5]) -> SimDisk {
    SimDisk::new(1, DiskFaults { loss, torn: 0.0, ..DiskFaults::default() })
}

const KEEP_NOTHING: [u32; 5] = [1, 0, 0, 0, 0];
const KEEP_ALL: [u32; 5] = [0, 1, 0, 0, 0];

fn named_and_synced(disk: &mut SimDisk) {
    disk.create("d/f", 0).expect("there is room");
    disk.sync_dir("d");
    disk.write("d/f", 0, b"synced").expect("there is room");
    disk.sync("d/f").expect("no faults");
}

#[test]
fn power_loss_keeps_what_was_synced_and_nothing_else() {
    let mut disk = disk(KEEP_NOTHING);
    named_and_synced(&mut disk);
    disk.write("d/f", 5000, b"unsynced").expect("there is room");
    assert!(disk.is_dirty());
    disk.lose_power();
    let bytes = disk.read("d/f").expect("its name was synced");
    assert_eq!(&bytes[..6], b"synced");
    assert!(bytes[6..].iter().all(|byte| *byte == 0));
    assert!(!disk.is_dirty());
}

#[test]
fn lucky_power_loss_keeps_all() {
    let mut disk = disk(KEEP_ALL);
    disk.create("d/f", 0).expect("there is room");
    disk.write("d/f", 5000, b"unsynced").expect("there is room");
    disk.lose_power();
    let bytes = disk.read("d/f");
    assert!(bytes.is_some_and(|bytes| bytes.is_empty() || bytes.ends_with(b"unsynced")));
}

#[test]
fn write_after_a_flush_began_is_not_covered_by_it() {
    let mut disk = disk(KEEP_NOTHING);
    named_and_synced(&mut disk);
    disk.write("d/f", 0, b"first.").expect("there is room");
    let sync = disk.begin_sync("d/f").expect("there");
    disk.write("d/f", 0, b"second").expect("there is room");
    disk.end_sync(sync).expect("no faults");
    disk.lose_power();
    assert_eq!(disk.read("d/f").as_deref(), Some(&b"first."[..]));
}

#[test]
fn name_is_lost_before_its_directory_is_flushed() {
    let mut disk = disk(KEEP_NOTHING);
    named_and_synced(&mut disk);
    disk.rename("d/f", "d/g").expect("there");
    assert_eq!(disk.list("d"), ["d/g"]);
    let mut lost = disk.clone();
    lost.lose_power();
    assert_eq!(lost.list("d"), ["d/f"]);
    disk.sync_dir("d");
    disk.lose_power();
    assert_eq!(disk.list("d"), ["d/g"]);
}

#[test]
fn removed_file_comes_back_until_the_directory_is_flushed() {
    let mut disk = disk(KEEP_NOTHING);
    named_and_synced(&mut disk);
    disk.remove("d/f").expect("there");
    assert_eq!(disk.read("d/f"), None);
    disk.lose_power();
    assert_eq!(disk.read("d/f").as_deref(), Some(&b"synced"[..]));
}

#[test]
fn full_disk_refuses_and_has_changed_nothing() {
    let mut disk = SimDisk::new(1, DiskFaults { capacity_bytes: 10_000, ..DiskFaults::default() });
    disk.create("a", 8000).expect("there is room");
    assert_eq!(disk.create("b", 8000), Err(DiskError::NoSpace));
    disk.write("a", 0, &[1; 8000]).expect("its room was taken at creation");
    assert_eq!(disk.write("a", 8000, &[1; 4000]), Err(DiskError::NoSpace));
    assert_eq!(disk.length("a"), Some(8000));
    disk.remove("a").expect("there");
    disk.sync_dir("");
    disk.create("b", 8000).expect("the room is free again");
}

#[test]
fn failed_flush_is_reported_and_keeps_only_whole_or_torn_sectors_of_it() {
    let mut disk = disk(KEEP_NOTHING);
    named_and_synced(&mut disk);
    disk.faults.sync_fails = 1.0;
    disk.write("d/f", 0, b"second").expect("there is room");
    assert_eq!(disk.sync("d/f"), Err(DiskError::Io));
    assert_eq!(disk.read("d/f").as_deref(), Some(&b"synced"[..]));
}

#[test]
fn torn_sector_is_new_up_to_a_byte_and_old_behind_it() {
    let mut disk = SimDisk::new(3, DiskFaults { loss: KEEP_NOTHING, torn: 1.0, ..DiskFaults::default() });
    disk.create("f", 512).expect("there is room");
    disk.sync_dir("");
    disk.write("f", 0, &[1; 512]).expect("there is room");
    disk.sync("f").expect("no faults");
    disk.write("f", 0, &[2; 512]).expect("there is room");
    disk.lose_power();
    let bytes = disk.read("f").expect("there");
    let tear = bytes.iter().take_while(|byte| **byte == 2).count();
    assert!(bytes[tear..].iter().all(|byte| *byte == 1));
    assert!(tear < 512);
}

#[test]
fn flipped_bit_is_seen_before_and_after_a_power_loss() {
    let mut disk = disk(KEEP_NOTHING);
    named_and_synced(&mut disk);
    assert!(disk.flip_bit("d/f", 1, 0));
    assert!(!disk.flip_bit("d/f", 100, 0));
    assert_eq!(disk.read("d/f").as_deref(), Some(&b"sxnced"[..]));
    disk.lose_power();
    assert_eq!(disk.read("d/f").as_deref(), Some(&b"sxnced"[..]));
}

#[test]
fn same_seed_loses_the_same() {
    let run = || {
        let mut disk =
            SimDisk::new(9, DiskFaults { loss: [0, 0, 1, 1, 1], torn: 0.3, ..DiskFaults::default() });
        disk.create("f", 65536).expect("there is room");
        disk.sync_dir("");
        disk.write("f", 0, &[7; 65536]).expect("there is room");
        disk.lose_power();
        disk.read("f")
    };
    assert_eq!(run(), run());
}

#[test]
fn power_loss_keeps_a_later_name_without_an_earlier_one_only_if_told_so() {
    let later_alone = |reorders_names| {
        (0..100).any(|seed| {
            let loss = [0, 0, 1, 1, 1];
            let mut disk = SimDisk::new(seed, DiskFaults { loss, reorders_names, ..DiskFaults::default() });
            disk.create("a", 1).expect("there is room");
            disk.create("b", 1).expect("there is room");
            disk.lose_power();
            disk.list("") == ["b"]
        })
    };
    assert!(later_alone(true));
    assert!(!later_alone(false));
}

#[test]
fn last_set_byte_is_found_below_a_length() {
    let mut disk = disk(KEEP_NOTHING);
    disk.create("f", 20_000).expect("there is room");
    assert_eq!(disk.last_set_byte("f", 20_000), 0);
    disk.write("f", 5_000, &[1, 0]).expect("there is room");
    disk.write("f", 9_000, &[1]).expect("there is room");
    assert_eq!(disk.last_set_byte("f", 20_000), 9_000);
    assert_eq!(disk.last_set_byte("f", 9_000), 5_000);
}
