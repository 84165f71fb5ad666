//! Sizes in bytes for people: SI units, two digits.
//!
//! Source: github.com/dustin/go-humanize bytes.go (Bytes).

const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];

/// 20480 is `20 kB`, 2147483648 is `2.1 GB`.
pub fn bytes(size: u64) -> String {
    if size < 10 {
        return format!("{size} B");
    }
    let exponent = (size.ilog10() / 3) as usize;
    let scaled = size as f64 / 1000f64.powi(i32::try_from(exponent).expect("at most six"));
    let rounded = (scaled * 10.0 + 0.5).floor() / 10.0;
    if rounded < 10.0 {
        format!("{rounded:.1} {}", UNITS[exponent])
    } else {
        format!("{rounded:.0} {}", UNITS[exponent])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_two_digits() {
        for (size, text) in [
            (0, "0 B"),
            (9, "9 B"),
            (10, "10 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (20480, "20 kB"),
            (2_147_483_648, "2.1 GB"),
            (104_857_600, "105 MB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(bytes(size), text);
        }
    }
}
