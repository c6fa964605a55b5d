//! The table of a trace's names.

use std::borrow::Cow;

use rustc_hash::FxHashMap;

/// The number of a name in a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(pub u32);

/// Names by their numbers. A name is in the table once.
#[derive(Clone, Debug, Default)]
pub struct Names {
    texts: Vec<Cow<'static, str>>,
    numbers: FxHashMap<Cow<'static, str>, Name>,
    /// Texts of the program itself, by where they lie and how long they are: quicker than by what they say.
    by_address: FxHashMap<(usize, usize), Name>,
}

impl PartialEq for Names {
    fn eq(&self, other: &Names) -> bool {
        self.texts == other.texts
    }
}

impl Names {
    /// The text of a name; empty for a number that no name has.
    pub fn text(&self, name: Name) -> &str {
        self.texts.get(name.0 as usize).map_or("", |text| text)
    }

    /// The number of a text, which is added where the table lacks it.
    pub fn number(&mut self, text: impl Into<Cow<'static, str>>) -> Name {
        let text = text.into();
        if let Some(name) = self.numbers.get(&text) {
            return *name;
        }
        let name = Name(self.texts.len() as u32);
        self.texts.push(text.clone());
        self.numbers.insert(text, name);
        name
    }

    /// The number of a text of the program itself, which is added where the table lacks it.
    pub(crate) fn number_of_static(&mut self, text: &'static str) -> Name {
        let address = (text.as_ptr() as usize, text.len());
        if let Some(name) = self.by_address.get(&address) {
            return *name;
        }
        let name = self.number(text);
        self.by_address.insert(address, name);
        name
    }

    /// The number of a text, where the table has it.
    pub fn find(&self, text: &str) -> Option<Name> {
        self.numbers.get(text).copied()
    }

    /// All names with their numbers, in the order of the numbers.
    pub fn iter(&self) -> impl Iterator<Item = (Name, &str)> {
        self.texts.iter().enumerate().map(|(number, text)| (Name(number as u32), &**text))
    }
}
