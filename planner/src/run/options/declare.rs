//! The macro that makes of each declared option its field in `RunOptions` and in `Run`, and its row in `OPTIONS`.

/// `new_tokens` as `new-tokens`; `N` is its length.
pub(super) const fn dashed<const N: usize>(name: &str) -> [u8; N] {
    let mut key = [0; N];
    let mut at = 0;
    while at < N {
        let byte = name.as_bytes()[at];
        key[at] = if byte == b'_' { b'-' } else { byte };
        at += 1;
    }
    key
}

/// The key of a run file that a field's name says.
macro_rules! key {
    ($name:ident) => {{
        const NAME: &str = stringify!($name);
        const KEY: [u8; NAME.len()] = $crate::run::options::declare::dashed(NAME);
        match std::str::from_utf8(&KEY) {
            Ok(key) => key,
            Err(_) => NAME,
        }
    }};
}

/// The type in which a run keeps an option: its own where it has a default.
macro_rules! kept {
    ($type:ty, [= $default:expr]) => { $type };
    ($type:ty, []) => { Option<$type> };
}

/// An expression, or None.
macro_rules! given {
    ([= $expression:expr]) => {
        $expression
    };
    ([]) => {
        None
    };
}

/// Options, each with its name, its type, its default if it has one, its heading and flag if it has one, what other programs
/// call it behind `or`, and its help.
///
/// `@` stands before an option that a run does not keep, `@gpu: String`, or keeps in the field of another,
/// `@ddp: Ddp => parallel`.
macro_rules! options {
    ($(
        $($name:ident)? $(@ $aside:ident)?: $type:ty $(= $default:expr)? $(=> $place:ident)?
        $(, $heading:ident $usage:literal $(or $($also:literal)+)? $(not with $rival:literal)?)?, $help:literal;
    )+) => {
        options! { @rows $(
            [$($name)?] $($name)? $($aside)?: $type, [$(= $default)?], [$($name)? $($place)?],
            [$(= stringify!($heading))?], [$(= $usage)?], [$($(= Some($rival))?)?], [$($($($also),+)?)?], $help;
        )+ }
    };
    (@rows $(
        [$($kept:ident)?] $name:ident: $type:ty, $default:tt, [$($place:ident)?],
        [$(= $heading:expr)?], [$(= $usage:expr)?], $rival:tt, $also:tt, $help:literal;
    )+) => {
        /// A run: every option, with its default where nothing is said.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Run {
            $($(#[doc = $help] pub $kept: kept!($type, $default),)?)+
        }

        impl Default for Run {
            fn default() -> Run {
                Run { $($($kept: given!($default),)?)+ }
            }
        }

        /// What is said of a run, on the command line or in a run file; what is not said is None.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct RunOptions {
            $(#[doc = $help] pub $name: Option<$type>,)+
        }

        /// Every option, in the order of a run file.
        pub static OPTIONS: &[RunOption] = &[$(
            RunOption {
                name: stringify!($name),
                key: key!($name),
                flag: given!([$(= Some(Flag { heading: $heading, usage: $usage, also: &$also, rival: given!($rival) }))?]),
                about: $help,
                repeats: <$type as OptionValue>::REPEATS,
                completion: <$type as OptionValue>::completion,
                entry: |options| options.$name.as_ref().map(OptionValue::entry),
                parse: |text| {
                    let value = <$type as OptionValue>::parse(text)?;
                    Ok(Arc::new(move |options: &mut RunOptions| then(&mut options.$name, value.clone())))
                },
                value: |_run| given!([$(= Place::<$type>::get(&_run.$place).as_ref().map(OptionValue::entry))?]),
                words: |_run| given!([$(= Place::<$type>::get(&_run.$place).as_ref().and_then(OptionValue::words))?]),
            },
        )+];

        impl RunOptions {
            /// These where they say something, else those of a run file.
            fn over(self, file: RunOptions) -> RunOptions {
                RunOptions { $($name: over(self.$name, file.$name),)+ }
            }

            /// A run with what is said.
            fn kept(&self) -> Run {
                let mut run = Run::default();
                $($(if let Some(value) = &self.$name {
                    Place::<$type>::set(&mut run.$place, value.clone());
                })?)+
                run
            }

            /// Takes the value of an option from a mapping.
            fn take<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
                $(if name == stringify!($name) {
                    self.$name = map.next_value::<Read<$type>>()?.0;
                })+
                Ok(())
            }
        }
    };
}

pub(super) use {given, kept, key, options};
