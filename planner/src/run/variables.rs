//! Environment variables of a run that change what libraries allocate: `--variable CUBLAS_WORKSPACE_CONFIG=:16:8`.

use std::fmt;
use std::str::FromStr;

use indexmap::IndexMap;

use super::RunError;
use crate::words::quote;

/// Environment variables with their values, in the order in which they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables(IndexMap<String, String>);

/// The variables that are known, with what each of them says.
pub const VARIABLES: [(&str, &str); 6] = [
    ("CUBLAS_WORKSPACE_CONFIG", "the workspace of a cuBLAS handle, as :KIB:COUNT, several times"),
    ("CUBLASLT_WORKSPACE_SIZE", "the workspace of cuBLASLt, in KiB"),
    ("TORCH_CUBLAS_WORKSPACE_CACHE", "1: workspaces are kept from call to call (PyTorch 2.15)"),
    ("TORCH_CUBLASLT_UNIFIED_WORKSPACE", "whether cuBLASLt uses the workspace of cuBLAS: 1 or 0"),
    ("PYTORCH_ALLOC_CONF", "as --allocator says it"),
    ("PYTORCH_CUDA_ALLOC_CONF", "as --allocator says it"),
];

/// A text that sets no variable that is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VariableError {
    /// No name with a value.
    #[error("`{}` sets no variable: write NAME=VALUE", quote::cut(.0))]
    Syntax(String),
    /// A variable that changes nothing that is planned.
    #[error("the variable {} is not known: known are {}", quote::cut(.name), VARIABLES.map(|(name, _)| name).join(", "))]
    Unknown {
        /// Its name.
        name: String,
    },
}

impl FromStr for Variables {
    type Err = VariableError;

    /// `NAME=VALUE`
    fn from_str(text: &str) -> Result<Variables, VariableError> {
        let (name, value) = text.split_once('=').ok_or_else(|| VariableError::Syntax(text.to_owned()))?;
        Variables::of([(name.trim().to_owned(), value.trim().to_owned())])
    }
}

impl Variables {
    /// These variables.
    ///
    /// # Errors
    /// A variable that is not known.
    pub fn of(entries: impl IntoIterator<Item = (String, String)>) -> Result<Variables, VariableError> {
        let known = |name: &str| VARIABLES.iter().any(|(known, _)| *known == name);
        let check = |(name, value): (String, String)| {
            if known(&name) { Ok((name, value)) } else { Err(VariableError::Unknown { name }) }
        };
        entries.into_iter().map(check).collect::<Result<_, _>>().map(Variables)
    }

    /// These, and where they say nothing, those.
    pub fn or(mut self, other: Variables) -> Variables {
        for (name, value) in other.0 {
            self.0.entry(name).or_insert(value);
        }
        self
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Whether a switch is on or off (c10/util/env.cpp, `check_env`: 1 and 0, all else counts as not set).
    pub fn switch(&self, name: &str) -> Option<bool> {
        match self.get(name)? {
            "1" => Some(true),
            "0" => Some(false),
            _ => None,
        }
    }

    /// The allocator's options: PYTORCH_ALLOC_CONF comes before the older name (c10/core/AllocatorConfig.cpp).
    pub fn allocator(&self) -> Option<&str> {
        self.get("PYTORCH_ALLOC_CONF").or_else(|| self.get("PYTORCH_CUDA_ALLOC_CONF"))
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names with values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Refuses workspaces beyond any GPU.
    pub(super) fn check(&self) -> Result<(), RunError> {
        const MOST: u64 = 1 << 40;
        let sizes =
            [("CUBLAS_WORKSPACE_CONFIG", self.blas_workspace()), ("CUBLASLT_WORKSPACE_SIZE", self.lt_workspace())];
        match sizes.into_iter().find(|(_, bytes)| bytes.is_some_and(|bytes| bytes > MOST)) {
            Some((what, bytes)) => Err(RunError::TooLarge { what, value: bytes.unwrap_or_default(), most: MOST }),
            None => Ok(()),
        }
    }

    /// The bytes of a cuBLAS handle's workspace: the sum over `:KIB:COUNT`; None where nothing is set or nothing can be read, for which
    /// PyTorch takes its default (aten/src/ATen/cuda/CublasHandlePool.cpp, `parseChosenWorkspaceSize`).
    pub fn blas_workspace(&self) -> Option<u64> {
        let numbers: Vec<&str> = self.get("CUBLAS_WORKSPACE_CONFIG")?.strip_prefix(':')?.split(':').collect();
        let pairs = numbers
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[size, count]| Some((size.parse::<u64>().ok()?, count.parse::<u64>().ok()?)));
        let pairs: Vec<(u64, u64)> = pairs.map_while(|pair| pair).collect();
        let bytes = |(size, count): &(u64, u64)| size.saturating_mul(1024).saturating_mul(*count);
        (!pairs.is_empty()).then(|| pairs.iter().map(bytes).fold(0, u64::saturating_add))
    }

    /// The bytes of cuBLASLt's workspace, as for `blas_workspace` (`parseCUDABlasLtWorkspaceSize`).
    pub fn lt_workspace(&self) -> Option<u64> {
        let kibibytes: u64 = self.get("CUBLASLT_WORKSPACE_SIZE")?.parse().ok()?;
        Some(kibibytes.saturating_mul(1024))
    }
}

/// Several given one after the other: the later one of a name counts.
impl FromIterator<Variables> for Variables {
    fn from_iter<I: IntoIterator<Item = Variables>>(given: I) -> Variables {
        Variables(given.into_iter().flat_map(|variables| variables.0).collect())
    }
}

impl fmt::Display for Variables {
    /// `A=1 B=2`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.iter().map(|(name, value)| format!("{name}={value}"));
        f.write_str(&entries.collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(text: &str) -> Variables {
        text.parse().expect("a variable")
    }

    #[test]
    fn workspaces_are_read_as_pytorch_reads_them() {
        let blas = |value: &str| variables(&format!("CUBLAS_WORKSPACE_CONFIG={value}")).blas_workspace();
        assert_eq!(blas(":4096:8"), Some(32 << 20));
        assert_eq!(blas(":4096:2:16:8"), Some(8_519_680));
        assert_eq!(blas(":16:8"), Some(131_072));
        assert_eq!(blas(":0:0"), Some(0));
        assert_eq!(blas("16:8"), None, "PyTorch warns and takes its default");
        assert_eq!(variables("CUBLASLT_WORKSPACE_SIZE=500").lt_workspace(), Some(512_000));
        assert_eq!(variables("TORCH_CUBLAS_WORKSPACE_CACHE=1").switch("TORCH_CUBLAS_WORKSPACE_CACHE"), Some(true));
        assert_eq!(variables("TORCH_CUBLAS_WORKSPACE_CACHE=yes").switch("TORCH_CUBLAS_WORKSPACE_CACHE"), None);
        assert!(variables("CUBLAS_WORKSPACE_CONFIG=:99999999999:999999").check().is_err());
    }

    #[test]
    fn unknown_variables_are_refused() {
        assert_eq!(
            "A".parse::<Variables>().expect_err("no value").to_string(),
            "`A` sets no variable: write NAME=VALUE"
        );
        let unknown = "NCCL_DEBUG=INFO".parse::<Variables>().expect_err("unknown").to_string();
        assert!(unknown.starts_with("the variable NCCL_DEBUG is not known: known are CUBLAS_WORKSPACE_CONFIG, "));
    }
}
