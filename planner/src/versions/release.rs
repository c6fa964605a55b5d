//! A release by its number, and the releases that a run names.

use std::fmt;
use std::str::FromStr;

use crate::words::quote;

/// A library whose releases differ in what they allocate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Library {
    /// PyTorch.
    Torch,
    /// Hugging Face's transformers.
    Transformers,
}

impl Library {
    /// Both libraries.
    pub const ALL: [Library; 2] = [Library::Torch, Library::Transformers];

    /// The name of its package, which is the name of its flag too.
    pub fn package(self) -> &'static str {
        match self {
            Library::Torch => "torch",
            Library::Transformers => "transformers",
        }
    }

    /// The name that people use for it.
    pub fn name(self) -> &'static str {
        match self {
            Library::Torch => "PyTorch",
            Library::Transformers => "transformers",
        }
    }

    /// The releases that are planned, oldest first: spans of minor numbers of one major number.
    fn spans(self) -> &'static [Span] {
        match self {
            Library::Torch => &[Span { major: 2, first: 9, last: 15 }],
            Library::Transformers => &[Span { major: 4, first: 57, last: 57 }, Span { major: 5, first: 17, last: 24 }],
        }
    }

    /// The releases that are planned, oldest first.
    pub fn releases(self) -> impl DoubleEndedIterator<Item = Release> {
        let of = |span: &Span| {
            let major = span.major;
            (span.first..=span.last).map(move |minor| Release { major, minor })
        };
        self.spans().iter().flat_map(of)
    }

    /// The oldest release that is planned.
    pub fn oldest(self) -> Release {
        self.releases().next().unwrap_or_default()
    }

    /// The newest release that was compared with records.
    pub fn newest(self) -> Release {
        self.releases().next_back().unwrap_or_default()
    }

    /// Whether a release is planned: it is known, or newer than all that are.
    pub fn plans(self, release: Release) -> bool {
        release > self.newest() || self.releases().any(|known| known == release)
    }

    /// The release that is planned before this one, where others lie between the two.
    pub fn before_gap(self, release: Release) -> Option<Release> {
        let spans = self.spans().iter().zip(self.spans().iter().skip(1));
        let before = spans.filter(|(_, span)| Release::new(span.major, span.first) == release);
        before.map(|(span, _)| Release::new(span.major, span.last)).next()
    }

    /// The releases that are planned, in words: `4.57 and 5.17 to 5.24`.
    pub fn planned(self) -> String {
        let words: Vec<String> = self.spans().iter().map(Span::to_string).collect();
        words.join(" and ")
    }

    /// The library of that package.
    pub fn of_package(name: &str) -> Option<Library> {
        Library::ALL.into_iter().find(|library| library.package() == name)
    }
}

/// Releases of one major number that follow each other.
#[derive(Clone, Copy, Debug)]
struct Span {
    major: u16,
    first: u16,
    last: u16,
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Span { major, first, last } = self;
        if first == last { write!(f, "{major}.{first}") } else { write!(f, "{major}.{first} to {major}.{last}") }
    }
}

/// A release: `2.15`. Patch releases (2.14.1) follow the rules of their release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release {
    /// The first number.
    pub major: u16,
    /// The second number.
    pub minor: u16,
}

impl Release {
    /// A release by its numbers.
    pub const fn new(major: u16, minor: u16) -> Release {
        Release { major, minor }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.major, self.minor))
    }
}

/// A text that is no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no version: write it as 2.15 or 2.15.0", quote::cut(.text))]
pub struct ReleaseSyntax {
    /// The word or number that was given.
    pub text: String,
}

impl FromStr for Release {
    type Err = ReleaseSyntax;

    /// The first two numbers of a version; what follows (`.1`, `+cu132`, `.dev20261101`, `rc1`) changes no rule.
    fn from_str(text: &str) -> Result<Release, ReleaseSyntax> {
        let wrong = || ReleaseSyntax { text: text.to_owned() };
        let (major, rest) = text.trim().split_once('.').ok_or_else(wrong)?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (minor, rest) = rest.split_at(digits);
        let plain = |number: &str| number.parse().ok().filter(|_| number.bytes().all(|byte| byte.is_ascii_digit()));
        let (major, minor) = (plain(major).ok_or_else(wrong)?, plain(minor).ok_or_else(wrong)?);
        let follows = rest.is_empty() || rest.starts_with(['.', '+', 'a', 'b', 'r', '-']);
        if follows { Ok(Release { major, minor }) } else { Err(wrong()) }
    }
}

/// The releases with which a run is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// PyTorch's.
    pub torch: Release,
    /// transformers'.
    pub transformers: Release,
}

impl Default for Versions {
    /// The newest releases that are known.
    fn default() -> Versions {
        Versions { torch: Library::Torch.newest(), transformers: Library::Transformers.newest() }
    }
}

/// A release whose rules are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} {release} is {}: --{} takes {}",
    .library.name(), if *release < .library.oldest() { "older than what is planned" } else { "not planned" },
    .library.package(), .library.planned()
)]
pub struct VersionError {
    /// Whose release.
    pub library: Library,
    /// The release that was asked for.
    pub release: Release,
}

impl Versions {
    /// The release of a library.
    pub fn of(self, library: Library) -> Release {
        match library {
            Library::Torch => self.torch,
            Library::Transformers => self.transformers,
        }
    }

    /// Refuses releases that are older than the known ones or lie between them. Newer ones are planned by the rules of the newest.
    ///
    /// # Errors
    /// A release before the newest that is not planned.
    pub fn check(self) -> Result<(), VersionError> {
        let old = Library::ALL.into_iter().find(|library| !library.plans(self.of(*library)));
        old.map_or(Ok(()), |library| Err(VersionError { library, release: self.of(library) }))
    }

    /// The releases that are newer than any that is known.
    pub fn unknown(self) -> impl Iterator<Item = (Library, Release)> {
        let releases = Library::ALL.into_iter().map(move |library| (library, self.of(library)));
        releases.filter(|(library, release)| *release > library.newest())
    }
}

impl fmt::Display for Versions {
    /// `PyTorch 2.15, transformers 5.24`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PyTorch {}, transformers {}", self.torch, self.transformers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_packages_write_them() {
        let read = |text: &str| text.parse::<Release>().ok();
        let release = |major, minor| Some(Release { major, minor });
        for text in ["2.15", "2.15.0", "2.15.0+cu132", "2.15.1.dev20261101+cpu", "2.15.0rc2", " 2.15 "] {
            assert_eq!(read(text), release(2, 15), "{text}");
        }
        assert_eq!(read("5.5.4"), release(5, 5));
        for text in ["", "2", "2.", ".15", "v2.15", "2.x", "+2.15", "2.+15", "2.15garbage", "99999.1", "-2.15"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn older_releases_are_refused_and_newer_ones_are_not() {
        let run = |torch: &str, transformers: &str| Versions {
            torch: torch.parse().expect("a version"),
            transformers: transformers.parse().expect("a version"),
        };
        let refused = run("2.8", "5.24").check().expect_err("too old").to_string();
        assert_eq!(refused, "PyTorch 2.8 is older than what is planned: --torch takes 2.9 to 2.15");
        let refused = run("2.15", "4.56.2").check().expect_err("too old").to_string();
        let takes = "--transformers takes 4.57 and 5.17 to 5.24";
        assert_eq!(refused, format!("transformers 4.56 is older than what is planned: {takes}"));
        assert_eq!(run("2.15", "4.57.6").check(), Ok(()));
        for between in ["4.58", "5.0.0", "5.16.1"] {
            let refused = run("2.15", between).check().expect_err("between two").to_string();
            assert!(refused.ends_with(&format!(" is not planned: {takes}")), "{refused}");
        }
        assert_eq!(Library::Transformers.before_gap(Release::new(5, 17)), Some(Release::new(4, 57)));
        assert_eq!(Library::Transformers.before_gap(Release::new(5, 18)), None);
        assert_eq!(Library::Torch.releases().count(), 7);
        let newer = run("2.16", "6.0");
        assert_eq!(newer.check(), Ok(()));
        assert_eq!(newer.unknown().count(), 2);
        assert_eq!(Versions::default().unknown().count(), 0);
    }
}
