//! What keeps a GPU from being measured.

use cudarc::cublas::result::CublasError;
use cudarc::driver::DriverError;

/// Why nothing was measured. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// libcuda is not there.
    #[error(
        "no NVIDIA driver: {library} cannot be loaded; install the driver (in a container: run it with --gpus all)"
    )]
    NoDriver {
        /// The name that was looked for.
        library: &'static str,
    },
    /// The driver finds no GPU.
    #[error("no GPU: the NVIDIA driver finds none (CUDA_VISIBLE_DEVICES may hide it)")]
    NoGpu,
    /// The driver is older than what is called.
    #[error("the NVIDIA driver is too old: it {found}, and CUDA {needed} is needed: install driver 570 or later")]
    OldDriver {
        /// What it supports, or lacks.
        found: String,
        /// What is needed.
        needed: &'static str,
    },
    /// A library of CUDA is not there.
    #[error(
        "{library} cannot be loaded: install the CUDA toolkit's libraries (or PyTorch's: {wheel}) and put their folder into LD_LIBRARY_PATH"
    )]
    NoLibrary {
        /// The name that was looked for.
        library: &'static str,
        /// The Python package that holds it.
        wheel: &'static str,
    },
    /// The driver refuses a call.
    #[error("the driver fails: {doing}: {error}")]
    Driver {
        /// What was being done.
        doing: &'static str,
        /// What it says.
        error: DriverError,
    },
    /// cuBLAS refuses a call.
    #[error("cuBLAS fails: {doing}: {error}")]
    Blas {
        /// What was being done.
        doing: &'static str,
        /// What it says.
        error: CublasError,
    },
    /// NVRTC does not compile a kernel.
    #[error("NVRTC does not compile the kernels for {architecture}: {log}")]
    Compile {
        /// The architecture asked for.
        architecture: String,
        /// What it says.
        log: String,
    },
    /// A process that was to hold memory does not answer.
    #[error("{program}: {message}")]
    Process {
        /// The program.
        program: String,
        /// The reason, in words.
        message: String,
    },
    /// A plan cannot be replayed.
    #[error("{0}")]
    Replay(String),
    /// The roofline cannot be fitted.
    #[error("the kernels that were timed give no roofline: {0}")]
    Fit(String),
}

impl CalibrateError {
    /// Whether the machine lacks what is needed, rather than something went wrong on it.
    pub fn is_absence(&self) -> bool {
        matches!(
            self,
            CalibrateError::NoDriver { .. }
                | CalibrateError::NoGpu
                | CalibrateError::OldDriver { .. }
                | CalibrateError::NoLibrary { .. }
        )
    }

    pub(crate) fn driver(doing: &'static str) -> impl Fn(DriverError) -> CalibrateError {
        move |error| CalibrateError::Driver { doing, error }
    }

    pub(crate) fn blas(doing: &'static str) -> impl Fn(CublasError) -> CalibrateError {
        move |error| CalibrateError::Blas { doing, error }
    }
}
