//! Reads the values of one table, each with its place, and reports those of a wrong kind.

use std::ops::RangeInclusive;

use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue},
};

use crate::{
    report::{Found, Place, Report, Unique},
    schema::{Absent, Table},
    words::{closest, kind, list, literal},
};

/// One table of the file.
pub(crate) struct Section<'a> {
    /// Where mistakes go.
    pub(crate) report: &'a Report,
    /// Where the table begins; its key is the table's own path.
    pub(crate) place: Place,
    schema: &'static Table,
    table: &'a DeTable<'a>,
}

impl<'a> Section<'a> {
    /// Reads a table at `place`; reports its unknown keys.
    pub(crate) fn new(
        report: &'a Report,
        schema: &'static Table,
        place: Place,
        table: &'a DeTable<'a>,
    ) -> Self {
        let section = Self::known(report, schema, place, table);
        for key in table.keys() {
            let name: &str = key.get_ref();
            if schema.key(name).is_none() {
                section.unknown(&section.place(name, key.span().start), name);
            }
        }
        section
    }

    /// Reads a table whose unknown keys are reported by somebody else.
    pub(crate) fn known(
        report: &'a Report,
        schema: &'static Table,
        place: Place,
        table: &'a DeTable<'a>,
    ) -> Self {
        Self {
            report,
            place,
            schema,
            table,
        }
    }

    /// The place of a key of this table.
    fn place(&self, name: &str, offset: usize) -> Place {
        Place {
            line: self.report.line(offset),
            key: format!("{}.{name}", self.place.key),
        }
    }

    fn unknown(&self, place: &Place, name: &str) {
        let names: Vec<&str> = self.schema.keys.iter().map(|key| key.name).collect();
        let header = self.schema.header();
        let file = names
            .iter()
            .find(|known| known.strip_suffix("_file") == Some(name));
        let remedy = match (file, closest(name, &names)) {
            // A secret in this file would be readable to all who may read it.
            (Some(key), _) => format!(
                "put the cookie into a file of its own with `l2ha genkey --output FILE`, and write \
                 `{key} = \"FILE\"`"
            ),
            (None, Some(known)) if self.table.keys().any(|key| key.get_ref() == known) => {
                format!("remove it: `{known}` is there")
            }
            (None, Some(known)) => format!("did you mean `{known}`?"),
            (None, None) => format!("remove it; {header} has {}", list(&names)),
        };
        self.report
            .error(place, format!("{header} has no key `{name}`"), remedy);
    }

    /// Whether an unknown key was reported that probably means this one.
    pub(crate) fn is_misspelt(&self, name: &str) -> bool {
        let names: Vec<&str> = self.schema.keys.iter().map(|key| key.name).collect();
        let mut unknown = self
            .table
            .keys()
            .filter(|key| self.schema.key(key.get_ref()).is_none());
        unknown.any(|key| closest(key.get_ref(), &names) == Some(name))
    }

    /// Whether there can be such a key.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.schema.key(name).is_some()
    }

    /// The value of a key, whatever it is.
    pub(crate) fn value(&self, name: &str) -> Option<Found<&'a Spanned<DeValue<'a>>>> {
        self.get(name)
    }

    fn get(&self, name: &str) -> Option<Found<&'a Spanned<DeValue<'a>>>> {
        debug_assert!(
            self.schema.key(name).is_some(),
            "{name} is not in the schema"
        );
        let (key, value) = self.table.iter().find(|(key, _)| key.get_ref() == name)?;
        Some(Found {
            value,
            place: self.place(name, key.span().start),
        })
    }

    /// The place of a key, if the key is there.
    pub(crate) fn place_of(&self, name: &str) -> Option<Place> {
        Some(self.get(name)?.place)
    }

    /// A good value for a key, as TOML.
    pub(crate) fn example(&self, name: &str) -> &'static str {
        self.schema.key(name).map_or("", |key| key.example)
    }

    /// The key's value, or a report if it is missing and must not be.
    fn wanted(&self, name: &str) -> Option<Found<&'a Spanned<DeValue<'a>>>> {
        let found = self.get(name);
        let required = self
            .schema
            .key(name)
            .is_some_and(|key| key.absent == Absent::Refused);
        if found.is_none() && required && !self.is_misspelt(name) {
            let place = Place {
                line: self.place.line,
                key: format!("{}.{name}", self.place.key),
            };
            let header = self.schema.header();
            let remedy = format!("add `{name} = {}` below {header}", self.example(name));
            self.report.error(&place, "is missing", remedy);
        }
        found
    }

    fn wrong_kind(
        &self,
        place: &Place,
        name: &str,
        value: &DeValue<'_>,
        wanted: &str,
        good: Option<String>,
    ) {
        // A cookie in place of its file's name must not come to light.
        let good = good.filter(|_| !name.ends_with("_file"));
        let good = good.unwrap_or_else(|| self.example(name).to_owned());
        let what = format!("must be {wanted}, not {}", kind(value));
        self.report
            .error(place, what, format!("write `{name} = {good}`"));
    }

    pub(crate) fn string(&self, name: &str) -> Option<Found<&'a str>> {
        self.text_or(name, |_| None)
    }

    /// A string; `meant` corrects what is written without quotes, if something good can be made of it.
    pub(crate) fn text_or(
        &self,
        name: &str,
        meant: impl Fn(&str) -> Option<String>,
    ) -> Option<Found<&'a str>> {
        let found = self.wanted(name)?;
        let value = found.value.get_ref();
        if let DeValue::String(text) = value {
            return Some(found.with(text.as_ref()));
        }
        let good = literal(value).and_then(|text| meant(&text));
        let good = good.map(|text| format!("\"{text}\""));
        self.wrong_kind(&found.place, name, value, "a string", good);
        None
    }

    /// A whole number of this range.
    pub(crate) fn integer<T: TryFrom<i128>>(
        &self,
        name: &str,
        range: RangeInclusive<i128>,
    ) -> Option<Found<T>> {
        self.integer_where(name, range, |_| true)
    }

    /// A whole number of this range; one that is not good is never shown as what to write, and is not refused here.
    pub(crate) fn integer_where<T: TryFrom<i128>>(
        &self,
        name: &str,
        range: RangeInclusive<i128>,
        is_good: impl Fn(i128) -> bool,
    ) -> Option<Found<T>> {
        let found = self.wanted(name)?;
        let value = found.value.get_ref();
        let DeValue::Integer(digits) = value else {
            let quoted = value
                .as_str()
                .and_then(|text| text.trim().parse::<i128>().ok());
            let good = quoted
                .filter(|number| range.contains(number) && is_good(*number))
                .map(|number| number.to_string());
            self.wrong_kind(&found.place, name, value, "a whole number", good);
            return None;
        };
        let number = i128::from_str_radix(digits.as_str(), digits.radix()).ok();
        let inside = number.filter(|number| range.contains(number));
        if let Some(number) = inside.and_then(|number| T::try_from(number).ok()) {
            return Some(found.with(number));
        }
        let (least, most) = (range.start(), range.end());
        let good = match number {
            Some(number) if number > *most && is_good(*most) => most.to_string(),
            Some(number) if number < *least && *least > 1 && is_good(*least) => least.to_string(),
            _ => self.example(name).to_owned(),
        };
        self.report.error(
            &found.place,
            format!("{} is not in {least} to {most}", digits.as_str()),
            format!("write `{name} = {good}`"),
        );
        None
    }

    /// A whole number of this range that no other table of its kind has.
    pub(crate) fn unique(
        &self,
        name: &str,
        range: RangeInclusive<u32>,
        taken: &mut Unique<u32>,
    ) -> Option<u32> {
        let (least, most) = range.into_inner();
        let found = self.integer::<u32>(name, least.into()..=most.into())?;
        let id = found.value;
        taken.take(self.report, found, |others| {
            let free = (id..=most).chain(least..id).find(|id| !others.has(id));
            format!("write another, as `{name} = {}`", free.unwrap_or_default())
        });
        Some(id)
    }

    /// Whether a key is there with a string.
    pub(crate) fn is_text(&self, name: &str) -> bool {
        let found = self.get(name);
        found.is_some_and(|found| matches!(found.value.get_ref(), DeValue::String(_)))
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self, name: &str) -> Option<Found<bool>> {
        let found = self.wanted(name)?;
        let value = found.value.get_ref();
        if let DeValue::Boolean(truth) = value {
            return Some(found.with(*truth));
        }
        let word = value.as_str().map(str::to_ascii_lowercase);
        let good = match word.as_deref() {
            Some("true" | "yes" | "on") => Some("true".to_owned()),
            Some("false" | "no" | "off") => Some("false".to_owned()),
            _ => None,
        };
        self.wrong_kind(&found.place, name, value, "`true` or `false`", good);
        None
    }

    /// One of these words.
    pub(crate) fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let found = self.string(name)?;
        let chosen = choices.iter().find(|(word, _)| *word == found.value);
        if chosen.is_none() {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            let good = closest(found.value, &words).or(words.first().copied());
            self.report.error(
                &found.place,
                format!("`{}` is not one of {}", found.value, list(&words)),
                format!("write `{name} = \"{}\"`", good.unwrap_or_default()),
            );
        }
        chosen.map(|(_, value)| *value)
    }

    /// An array of strings, each with its own line. What stands there without brackets or quotes is shown with
    /// them where it `is_good`.
    pub(crate) fn strings(
        &self,
        name: &str,
        is_good: impl Fn(&str) -> bool,
    ) -> Option<Strings<'a>> {
        let found = self.wanted(name)?;
        let value = found.value.get_ref();
        let quoted = |value: &DeValue<'_>| {
            let text = literal(value).filter(|text| is_good(text))?;
            Some(format!("[{text:?}]"))
        };
        let DeValue::Array(array) = value else {
            let good = quoted(value);
            self.wrong_kind(&found.place, name, value, "an array of strings", good);
            return None;
        };
        Some(Strings {
            good: self.elements(name, &found.place, array, quoted),
            empty: array.is_empty(),
            place: found.place,
        })
    }

    /// The tables of a key that has one or several of them.
    pub(crate) fn tables(&self, name: &str, schema: &'static Table) -> Vec<Self> {
        let Some(found) = self.get(name) else {
            return Vec::new();
        };
        let section = |place: Place, value: &'a Spanned<DeValue<'a>>| match value.get_ref() {
            DeValue::Table(table) => Some(Self::new(self.report, schema, place, table)),
            other => {
                self.wrong_kind(&place, name, other, "a table", None);
                None
            }
        };
        let DeValue::Array(array) = found.value.get_ref() else {
            return section(found.place, found.value).into_iter().collect();
        };
        if array.is_empty() {
            let remedy = format!("remove it, or write `{name} = {}`", self.example(name));
            self.report.error(&found.place, "is empty", remedy);
        }
        let elements = array.iter().enumerate();
        let sections = elements.filter_map(|(index, element)| {
            let place = Place {
                line: self.report.line(element.span().start),
                key: format!("{}[{index}]", found.place.key),
            };
            section(place, element)
        });
        sections.collect()
    }

    /// The key `tunnels`: names among those of `known`, which are tunnels `with` something.
    pub(crate) fn tunnels(&self, known: &[String], with: &str) -> Vec<String> {
        let named = self.strings("tunnels", |name| known.iter().any(|it| it == name));
        let named = named.map_or_else(Vec::new, |strings| strings.good);
        for name in &named {
            if !known.iter().any(|tunnel| tunnel == name.value) {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let remedy = match closest(name.value, &known) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if known.is_empty() => "remove it".to_owned(),
                    None => format!("write one of {}", list(&known)),
                };
                let what = format!("there is no tunnel `{}` with {with}", name.value);
                self.report.error(&name.place, what, remedy);
            }
        }
        named.iter().map(|name| name.value.to_owned()).collect()
    }

    fn elements(
        &self,
        name: &str,
        place: &Place,
        array: &'a DeArray<'a>,
        quoted: impl Fn(&DeValue<'_>) -> Option<String>,
    ) -> Vec<Found<&'a str>> {
        let mut strings = Vec::new();
        for (index, element) in array.iter().enumerate() {
            let place = Place {
                line: self.report.line(element.span().start),
                key: format!("{}[{index}]", place.key),
            };
            match element.get_ref() {
                DeValue::String(text) => strings.push(Found {
                    value: text.as_ref(),
                    place,
                }),
                other => {
                    self.wrong_kind(&place, name, other, "a string", quoted(other));
                }
            }
        }
        strings
    }
}

/// An array of strings.
pub(crate) struct Strings<'a> {
    /// The elements that are strings.
    pub(crate) good: Vec<Found<&'a str>>,
    /// Whether there are no elements at all.
    pub(crate) empty: bool,
    /// Where the array is.
    pub(crate) place: Place,
}

/// A table of the file.
pub(crate) fn find<'a>(root: &'a DeTable<'a>, name: &str) -> Option<&'a Spanned<DeValue<'a>>> {
    let (_, value) = root.iter().find(|(key, _)| key.get_ref() == name)?;
    Some(value)
}
