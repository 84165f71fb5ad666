//! Tables of a scenario file: keys are taken one by one, and what nobody took is refused.
//!
//! A value is one value or a range `[low, high]`, from which the seed draws: by magnitude where the bounds
//! are ten times apart or more. Each key has a stream of draws of its own, so that one more key in a file
//! leaves the others of the same seed where they were.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::rng::Rng;

/// What is wrong with a file, and the offset of the byte at which it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub at: usize,
    pub what: String,
}

impl Trouble {
    pub fn new(at: usize, what: impl Into<String>) -> Trouble {
        Trouble { at, what: what.into() }
    }
}

pub type Read<T> = Result<T, Trouble>;

/// A table whose keys are being taken.
pub struct Table<'a> {
    /// Where it begins.
    pub at: usize,
    /// Its name for readers and for draws, as `fault.2`.
    path: String,
    items: Vec<Item<'a>>,
}

/// A value and its key.
pub struct Item<'a> {
    pub at: usize,
    seed: u64,
    path: String,
    value: DeValue<'a>,
}

impl<'a> Table<'a> {
    /// Parses a whole file; ranges in it are drawn from `seed`.
    pub fn parse(text: &'a str, seed: u64) -> Read<Table<'a>> {
        let table = DeTable::parse(text).map_err(|error| {
            Trouble::new(error.span().map_or(0, |span| span.start), error.message().trim_end())
        })?;
        let at = table.span().start;
        Ok(Table::of(at, seed, "", table.into_inner()))
    }

    fn of(at: usize, seed: u64, path: &str, entries: DeTable<'a>) -> Table<'a> {
        let items = entries.into_iter().map(|(key, value)| {
            let at = key.span().start;
            let path = if path.is_empty() {
                key.into_inner().into_owned()
            } else {
                format!("{path}.{}", key.get_ref())
            };
            Item { at, seed, path, value: value.into_inner() }
        });
        Table { at, path: path.to_owned(), items: items.collect() }
    }

    /// Takes the value of a key, if the key is there.
    pub fn take(&mut self, key: &str) -> Option<Item<'a>> {
        let place = self.items.iter().position(|item| item.key() == key)?;
        Some(self.items.swap_remove(place))
    }

    /// Takes a key that must be there.
    pub fn need(&mut self, key: &str) -> Read<Item<'a>> {
        let at = self.at;
        let missing = format!("{}: `{key}` is missing", self.named());
        self.take(key).ok_or(Trouble::new(at, missing))
    }

    /// Takes the one key of `keys` that is there. Errors: there are two.
    pub fn take_one_of(&mut self, keys: &[&str]) -> Read<Option<Item<'a>>> {
        let mut found: Vec<Item> = keys.iter().filter_map(|key| self.take(key)).collect();
        found.sort_by_key(|item| item.at);
        match found.get(1) {
            Some(second) => {
                let what = format!("`{}` stands beside `{}`", second.key(), found[0].key());
                Err(Trouble::new(second.at, what))
            }
            None => Ok(found.pop()),
        }
    }

    /// Nothing may be left that nobody took.
    pub fn finish(self) -> Read<()> {
        match self.items.iter().min_by_key(|item| item.at) {
            Some(item) => {
                let what = format!("{} knows no key `{}`", self.named(), item.key());
                Err(Trouble::new(item.at, what))
            }
            None => Ok(()),
        }
    }

    pub fn named(&self) -> &str {
        if self.path.is_empty() { "a scenario" } else { &self.path }
    }
}

impl<'a> Item<'a> {
    pub fn key(&self) -> &str {
        self.path.rsplit('.').next().expect("a path has a last part")
    }

    pub fn trouble(&self, what: impl Into<String>) -> Trouble {
        Trouble::new(self.at, what)
    }

    fn wrong(&self, wanted: &str) -> Trouble {
        self.trouble(format!("`{}` is {wanted}, not {}", self.key(), shown(&self.value)))
    }

    pub fn is_table(&self) -> bool {
        self.value.is_table()
    }

    pub fn is_list(&self) -> bool {
        self.value.is_array()
    }

    pub fn is_text(&self) -> bool {
        self.value.is_str()
    }

    pub fn text(&self) -> Read<String> {
        self.value.as_str().map(str::to_owned).ok_or_else(|| self.wrong("a text"))
    }

    pub fn flag(&self) -> Read<bool> {
        self.value.as_bool().ok_or_else(|| self.wrong("true or false"))
    }

    /// A whole number as it stands.
    pub fn integer(&self) -> Read<i64> {
        whole(&self.value)
            .and_then(|number| i64::try_from(number).ok())
            .ok_or_else(|| self.wrong("a whole number"))
    }

    /// Any 64 bits, also those above what TOML promises to carry.
    pub fn bits(&self) -> Read<u64> {
        whole(&self.value)
            .and_then(|number| u64::try_from(number).ok())
            .ok_or_else(|| self.wrong("a whole number"))
    }

    /// One of some words.
    pub fn word<T: Copy>(&self, words: &[(&str, T)]) -> Read<T> {
        let known = self.value.as_str().and_then(|text| words.iter().find(|(word, _)| *word == text));
        known.map(|(_, meant)| *meant).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.wrong(&format!("one of {}", words.join(", ")))
        })
    }

    /// The table that the value is.
    pub fn table(self) -> Read<Table<'a>> {
        let trouble = self.wrong("a table");
        match self.value {
            DeValue::Table(entries) => Ok(Table::of(self.at, self.seed, &self.path, entries)),
            _ => Err(trouble),
        }
    }

    /// The values of a list; a value alone is a list of one.
    pub fn list(self) -> Read<Vec<Item<'a>>> {
        let Item { at, seed, path, value } = self;
        Ok(match value {
            DeValue::Array(values) => (1..)
                .zip(values)
                .map(|(number, value)| Item {
                    at: place(&value, at),
                    seed,
                    path: format!("{path} {number}"),
                    value: value.into_inner(),
                })
                .collect(),
            value => vec![Item { at, seed, path, value }],
        })
    }

    /// The tables of a list.
    pub fn tables(self) -> Read<Vec<Table<'a>>> {
        if !self.is_list() {
            return Err(self.wrong("a list of tables"));
        }
        self.list()?.into_iter().map(Item::table).collect()
    }

    fn rng(&self) -> Rng {
        Rng::named(self.seed, &format!("scenario {}", self.path))
    }

    /// Bounds in the file's order; one value is both.
    fn bounds<T: Copy + PartialOrd>(
        &self,
        wanted: &str,
        read: impl Fn(&DeValue) -> Option<T>,
    ) -> Read<(T, T)> {
        let bounds = match &self.value {
            DeValue::Array(values) => match values.iter().map(Spanned::get_ref).collect::<Vec<_>>()[..] {
                [low, high] => read(low).zip(read(high)),
                _ => None,
            },
            value => read(value).map(|value| (value, value)),
        };
        let (low, high) =
            bounds.ok_or_else(|| self.wrong(&format!("{wanted} or a range [low, high] of them")))?;
        if low > high {
            return Err(self.trouble(format!("`{}`: the range {} is empty", self.key(), shown(&self.value))));
        }
        Ok((low, high))
    }

    /// A number that is not negative; the bounds of its range.
    pub fn counts(&self) -> Read<(u64, u64)> {
        self.bounds("a number", |value| u64::try_from(whole(value)?).ok())
    }

    pub fn count(&self) -> Read<u64> {
        Ok(draw(&mut self.rng(), self.counts()?))
    }

    /// A number that fits and is not 0.
    pub fn count_in(&self, bounds: Range<u64>) -> Read<u64> {
        let (low, high) = self.counts()?;
        if !bounds.contains(&low) || !bounds.contains(&high) {
            let what = format!("`{}` lies from {} to {}", self.key(), bounds.start, bounds.end - 1);
            return Err(self.trouble(what));
        }
        Ok(draw(&mut self.rng(), (low, high)))
    }

    /// Nanoseconds; the bounds of a range.
    pub fn times_ns(&self) -> Read<(u64, u64)> {
        self.bounds("a time like \"300ms\"", |value| parse_ns(value.as_str()?))
    }

    pub fn time_ns(&self) -> Read<u64> {
        Ok(draw(&mut self.rng(), self.times_ns()?))
    }

    /// A number from 0 to 1.
    pub fn probability(&self) -> Read<f64> {
        self.number_in(0.0..1.0)
    }

    /// A number within bounds, both included.
    pub fn number_in(&self, bounds: Range<f64>) -> Read<f64> {
        let (low, high) = self.bounds("a number", number)?;
        if low < bounds.start || high > bounds.end {
            return Err(self.trouble(format!(
                "`{}` lies from {} to {}",
                self.key(),
                bounds.start,
                bounds.end
            )));
        }
        Ok(if low < high { low + (high - low) * self.rng().unit() } else { low })
    }

    /// How often a second, as in "200/s".
    pub fn per_second(&self) -> Read<f64> {
        let read = |value: &DeValue| {
            let rate: f64 = value.as_str()?.strip_suffix("/s")?.trim().parse().ok()?;
            (rate > 0.0 && rate.is_finite()).then_some(rate)
        };
        let (low, high) = self.bounds("a rate like \"200/s\"", read)?;
        Ok(if low < high { low + (high - low) * self.rng().unit() } else { low })
    }
}

/// A value of a list knows its own place.
fn place(value: &Spanned<DeValue>, list: usize) -> usize {
    let start = value.span().start;
    if start == 0 { list } else { start }
}

fn whole(value: &DeValue) -> Option<i128> {
    let number = value.as_integer()?;
    i128::from_str_radix(number.as_str(), number.radix()).ok()
}

fn number(value: &DeValue) -> Option<f64> {
    let number = match value {
        DeValue::Float(number) => number.as_str().parse().ok()?,
        value => whole(value)? as f64,
    };
    number.is_finite().then_some(number)
}

fn draw(rng: &mut Rng, (low, high): (u64, u64)) -> u64 {
    match low {
        1.. if high / low >= 10 => rng.log_between(low, high),
        _ if low == high => low,
        _ => rng.between(low, high),
    }
}

/// A time as people write it: a number and its unit.
pub fn parse_ns(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(split);
    let unit_ns: u64 = match unit {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    match number.split_once('.') {
        None => number.parse::<u64>().ok()?.checked_mul(unit_ns),
        Some((whole, part)) => {
            let fraction: f64 = format!("0.{part}").parse().ok()?;
            let whole_ns = whole.parse::<u64>().ok()?.checked_mul(unit_ns)?;
            whole_ns.checked_add((fraction * unit_ns as f64).round() as u64)
        }
    }
}

/// A value in an error.
fn shown(value: &DeValue) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(values) => {
            let values: Vec<String> = values.iter().map(|value| shown(value.get_ref())).collect();
            format!("[{}]", values.join(", "))
        }
        DeValue::Table(_) => "a table".to_owned(),
    }
}
