//! The GPU, through cudarc: the only place that calls CUDA, and the only one with unsafe code.
//!
//! Libraries are loaded when they are first used. cudarc panics where one is missing, so each is asked for before.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::cublas::{result as blas, sys as blas_sys};
use cudarc::driver::{CudaContext, CudaFunction, CudaStream, LaunchConfig, PushKernelArg, result, sys};
use cudarc::nvrtc::{self, CompileOptions};

use crate::device::{Device, Memory};
use crate::error::CalibrateError;
use crate::products::{Element, Product};

/// What the driver has to support: the oldest whose functions cudarc calls.
const CUDA: (i32, &str) = (12_080, "12.8");
/// The driver's functions that are called, here and by cudarc.
const FUNCTIONS: [&str; 31] = [
    "cuCtxGetCurrent",
    "cuCtxSetCurrent",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDevicePrimaryCtxRelease_v2",
    "cuDevicePrimaryCtxRetain",
    "cuDriverGetVersion",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventElapsedTime_v2",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuInit",
    "cuLaunchKernel",
    "cuMemAlloc_v2",
    "cuMemFreeHost",
    "cuMemFree_v2",
    "cuMemGetInfo_v2",
    "cuMemHostAlloc",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuModuleGetFunction",
    "cuModuleLoadData",
    "cuModuleUnload",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamSynchronize",
];
const KERNELS: &str = include_str!("../kernels/kernels.cu");
const THREADS: u32 = 256;

/// A GPU with a context.
pub struct Gpu {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    functions: Option<Functions>,
    blas: Option<Blas>,
    blocks: u32,
}

struct Functions {
    nothing: CudaFunction,
    touch: CudaFunction,
    copy: CudaFunction,
    add: CudaFunction,
    sum: CudaFunction,
}

struct Blas(blas_sys::cublasHandle_t);

impl Drop for Blas {
    fn drop(&mut self) {
        // SAFETY: the handle is cuBLAS's own and goes once
        let _ = unsafe { blas::destroy_handle(self.0) };
    }
}

/// What the driver tells of a GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its name.
    pub name: String,
    /// Its compute capability.
    pub compute_capability: (i32, i32),
    /// Its memory.
    pub total: u64,
    /// The version of CUDA that the driver supports.
    pub cuda: String,
}

/// Which way a copy goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the device.
    In,
    /// From it.
    Out,
}

/// Memory of the host for copies.
pub struct HostMemory {
    pointer: *mut c_void,
    bytes: usize,
    /// Where it is pageable, what holds it.
    _pageable: Option<Vec<u8>>,
}

impl Drop for HostMemory {
    fn drop(&mut self) {
        if self._pageable.is_none() {
            // SAFETY: pinned memory came from `malloc_host`, and goes once
            let _ = unsafe { result::free_host(self.pointer) };
        }
    }
}

impl Gpu {
    /// Makes a context on the first GPU.
    ///
    /// # Errors
    /// No driver, no GPU, a driver that is too old.
    pub fn open() -> Result<Gpu, CalibrateError> {
        // SAFETY: loading the driver's library runs its own initialisers alone
        if !unsafe { sys::is_culib_present() } {
            return Err(CalibrateError::NoDriver { library: "libcuda.so.1" });
        }
        check_functions()?;
        let version = cuda_version()?;
        if version < CUDA.0 {
            return Err(CalibrateError::OldDriver {
                found: format!("supports CUDA {}", spell(version)),
                needed: CUDA.1,
            });
        }
        let count = match result::init().and_then(|()| CudaContext::device_count()) {
            Err(error) if error.0 == sys::CUresult::CUDA_ERROR_NO_DEVICE => return Err(CalibrateError::NoGpu),
            count => count.map_err(CalibrateError::driver("asked for the GPUs"))?,
        };
        if count == 0 {
            return Err(CalibrateError::NoGpu);
        }
        let failed = CalibrateError::driver("making a context");
        let context = CudaContext::new(0).map_err(&failed)?;
        // one stream: cudarc need not order its own
        // SAFETY: nothing here is used on another stream
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(&failed)?;
        let multiprocessors = context
            .attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
            .map_err(CalibrateError::driver("asked for its multiprocessors"))?;
        let blocks = u32::try_from(multiprocessors).unwrap_or(1) * 8;
        Ok(Gpu { context, stream, functions: None, blas: None, blocks })
    }

    /// What the driver tells.
    ///
    /// # Errors
    /// A driver that fails.
    pub fn facts(&self) -> Result<Facts, CalibrateError> {
        let failed = CalibrateError::driver("asked what the GPU is");
        let (_, total) = self.context.mem_get_info().map_err(&failed)?;
        Ok(Facts {
            name: self.context.name().map_err(&failed)?,
            compute_capability: self.context.compute_capability().map_err(&failed)?,
            total: total as u64,
            cuda: spell(cuda_version()?),
        })
    }

    /// Compiles and loads the kernels, if they are not there yet.
    ///
    /// # Errors
    /// No NVRTC, or one that does not know the GPU.
    pub fn load_kernels(&mut self) -> Result<(), CalibrateError> {
        if self.functions.is_some() {
            return Ok(());
        }
        // SAFETY: as for the driver's
        if !unsafe { nvrtc::sys::is_culib_present() } {
            return Err(no_nvrtc());
        }
        let (major, minor) = self.facts()?.compute_capability;
        let architecture = format!("compute_{major}{minor}");
        let options =
            CompileOptions { options: vec![format!("--gpu-architecture={architecture}")], ..CompileOptions::default() };
        let compiled = nvrtc::compile_ptx_with_opts(KERNELS, options);
        let ptx = compiled.map_err(|error| CalibrateError::Compile { architecture, log: error.to_string() })?;
        let failed = CalibrateError::driver("loading the kernels");
        let module = self.context.load_module(ptx).map_err(&failed)?;
        let function = |name| module.load_function(name).map_err(&failed);
        self.functions = Some(Functions {
            nothing: function("nothing")?,
            touch: function("touch")?,
            copy: function("copy")?,
            add: function("add")?,
            sum: function("sum")?,
        });
        Ok(())
    }

    /// Makes a cuBLAS handle, if there is none yet.
    ///
    /// # Errors
    /// No cuBLAS, or one that fails.
    pub fn load_blas(&mut self) -> Result<(), CalibrateError> {
        if self.blas.is_some() {
            return Ok(());
        }
        // SAFETY: as for the driver's
        if !unsafe { blas_sys::is_culib_present() } {
            return Err(no_blas());
        }
        let failed = CalibrateError::blas("making a handle");
        let handle = Blas(blas::create_handle().map_err(&failed)?);
        // SAFETY: both are alive as long as this value
        unsafe { blas::set_stream(handle.0, self.stream.cu_stream().cast()) }.map_err(&failed)?;
        self.blas = Some(handle);
        Ok(())
    }

    /// Runs an empty kernel.
    ///
    /// # Errors
    /// A driver that fails, kernels that were not loaded.
    pub fn run_nothing(&self) -> Result<(), CalibrateError> {
        self.launch(&self.functions()?.nothing, &[], 1)
    }

    /// Copies so many 16-byte words within the device, by a kernel.
    ///
    /// # Errors
    /// As `run_nothing`.
    pub fn run_copy(&self, [x, out]: [&Memory; 2], words: u64) -> Result<(), CalibrateError> {
        self.launch(&self.functions()?.copy, &[x.address, out.address, words], self.blocks)
    }

    /// Adds so many 16-byte words of floats.
    ///
    /// # Errors
    /// As `run_nothing`.
    pub fn run_add(&self, [x, y, out]: [&Memory; 3], words: u64) -> Result<(), CalibrateError> {
        self.launch(&self.functions()?.add, &[x.address, y.address, out.address, words], self.blocks)
    }

    /// Bytes that `run_sum` writes: a float for each block.
    pub fn sums(&self) -> u64 {
        4 * u64::from(self.blocks)
    }

    /// Sums so many floats; `out` has room for `sums`.
    ///
    /// # Errors
    /// As `run_nothing`.
    pub fn run_sum(&self, [x, out]: [&Memory; 2], count: u64) -> Result<(), CalibrateError> {
        self.launch(&self.functions()?.sum, &[x.address, out.address, count], self.blocks)
    }

    /// Milliseconds between the begin and the end of what is asked of the GPU meanwhile.
    ///
    /// # Errors
    /// What is asked fails, or the driver.
    pub fn seconds(&self, asked: impl FnOnce() -> Result<(), CalibrateError>) -> Result<f64, CalibrateError> {
        let failed = CalibrateError::driver("timing");
        let flags = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);
        let begin = self.stream.record_event(flags).map_err(&failed)?;
        asked()?;
        let end = self.stream.record_event(flags).map_err(&failed)?;
        end.synchronize().map_err(&failed)?;
        Ok(f64::from(begin.elapsed_ms(&end).map_err(&failed)?) / 1e3)
    }

    /// Memory of the host, pinned or pageable.
    ///
    /// # Errors
    /// The driver pins no so much.
    pub fn host_memory(&self, bytes: usize, pinned: bool) -> Result<HostMemory, CalibrateError> {
        if !pinned {
            let mut held = vec![1u8; bytes];
            return Ok(HostMemory { pointer: held.as_mut_ptr().cast(), bytes, _pageable: Some(held) });
        }
        // SAFETY: it is written before anything reads it
        let pointer = unsafe { result::malloc_host(bytes, 0) }.map_err(CalibrateError::driver("pinning memory"))?;
        // SAFETY: so many bytes were given
        unsafe { std::ptr::write_bytes(pointer.cast::<u8>(), 1, bytes) };
        Ok(HostMemory { pointer, bytes, _pageable: None })
    }

    /// Copies all of the host's memory to the device, or fills it from there.
    ///
    /// # Errors
    /// A driver that fails.
    pub fn copy_host(&self, host: &HostMemory, device: &Memory, way: Way) -> Result<(), CalibrateError> {
        let failed = CalibrateError::driver("copying");
        let (pointer, stream) = (host.pointer.cast::<u8>(), self.stream.cu_stream());
        let bytes = host.bytes.min(device.bytes as usize);
        // SAFETY: both hold so many bytes and outlive the copy, which is waited for
        let done = unsafe {
            match way {
                Way::In => {
                    result::memcpy_htod_async(device.address, std::slice::from_raw_parts(pointer, bytes), stream)
                }
                Way::Out => {
                    result::memcpy_dtoh_async(std::slice::from_raw_parts_mut(pointer, bytes), device.address, stream)
                }
            }
        };
        done.and_then(|()| self.stream.synchronize()).map_err(failed)
    }

    fn functions(&self) -> Result<&Functions, CalibrateError> {
        self.functions.as_ref().ok_or_else(no_nvrtc)
    }

    fn launch(&self, function: &CudaFunction, arguments: &[u64], blocks: u32) -> Result<(), CalibrateError> {
        let shape = LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 };
        let mut launch = self.stream.launch_builder(function);
        arguments.iter().for_each(|argument| {
            launch.arg(argument);
        });
        // SAFETY: addresses and sizes are those of memory that the caller holds until it has waited
        unsafe { launch.launch(shape) }.map_err(CalibrateError::driver("running a kernel"))?;
        Ok(())
    }
}

impl Device for Gpu {
    fn free(&self) -> Result<u64, CalibrateError> {
        let (free, _) = self.context.mem_get_info().map_err(CalibrateError::driver("asked for free memory"))?;
        Ok(free as u64)
    }

    fn allocate(&mut self, bytes: u64) -> Result<Option<Memory>, CalibrateError> {
        self.context.bind_to_thread().map_err(CalibrateError::driver("binding the context"))?;
        // SAFETY: it is written before anything reads it that matters
        match unsafe { result::malloc_sync(bytes as usize) } {
            Ok(address) => Ok(Some(Memory { address, bytes })),
            Err(error) if error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => Ok(None),
            Err(error) => Err(CalibrateError::driver("asked for memory")(error)),
        }
    }

    fn release(&mut self, memory: Memory) -> Result<(), CalibrateError> {
        self.wait()?;
        // SAFETY: it came from `allocate`, which gives each once, and nothing runs on it any more
        unsafe { result::free_sync(memory.address) }.map_err(CalibrateError::driver("giving memory back"))
    }

    fn touch(&self, memory: &Memory, offset: u64, bytes: u64) -> Result<(), CalibrateError> {
        let bytes = bytes.min(memory.bytes.saturating_sub(offset));
        self.launch(&self.functions()?.touch, &[memory.address + offset, bytes, 1], self.blocks)
    }

    fn multiply(&self, product: &Product, factors: u64, result: u64) -> Result<(), CalibrateError> {
        let Some(handle) = &self.blas else { return Err(no_blas()) };
        let Product { element, rows, columns, inner } = *product;
        let types = types(element);
        let size = |size: u64| size as i32;
        let (one, zero, whole_one, whole_zero) = (1.0f64, 0.0f64, 1i32, 0i32);
        let (single_one, single_zero) = (1.0f32, 0.0f32);
        let (alpha, beta): (*const c_void, *const c_void) = match element {
            Element::Fp64 => ((&raw const one).cast(), (&raw const zero).cast()),
            Element::Int8 => ((&raw const whole_one).cast(), (&raw const whole_zero).cast()),
            _ => ((&raw const single_one).cast(), (&raw const single_zero).cast()),
        };
        // the first factor lies transposed, as a linear layer's weight does, which every type multiplies
        let [yes, no] = [blas_sys::cublasOperation_t::CUBLAS_OP_T, blas_sys::cublasOperation_t::CUBLAS_OP_N];
        let algorithm = blas_sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT;
        let (first, second) = (factors as *const c_void, (factors + rows * inner * element.size()) as *const c_void);
        // SAFETY: the caller's memory holds both factors and the result
        let done = unsafe {
            blas::gemm_ex(
                handle.0,
                yes,
                no,
                size(rows),
                size(columns),
                size(inner),
                alpha,
                first,
                types.factor,
                size(inner),
                second,
                types.factor,
                size(inner),
                beta,
                result as *mut c_void,
                types.result,
                size(rows),
                types.compute,
                algorithm,
            )
        };
        done.map_err(CalibrateError::blas("multiplying"))
    }

    fn wait(&mut self) -> Result<(), CalibrateError> {
        self.stream.synchronize().map_err(CalibrateError::driver("waiting for the GPU"))
    }
}

fn no_nvrtc() -> CalibrateError {
    CalibrateError::NoLibrary { library: "libnvrtc.so", wheel: "nvidia-cuda-nvrtc" }
}

fn no_blas() -> CalibrateError {
    CalibrateError::NoLibrary { library: "libcublas.so", wheel: "nvidia-cublas" }
}

/// cuBLAS's types of a product.
struct Types {
    factor: blas_sys::cudaDataType,
    result: blas_sys::cudaDataType,
    compute: blas_sys::cublasComputeType_t,
}

fn types(element: Element) -> Types {
    use blas_sys::cublasComputeType_t as Compute;
    use blas_sys::cudaDataType as Data;
    let alike = |data, compute| Types { factor: data, result: data, compute };
    match element {
        Element::Fp64 => alike(Data::CUDA_R_64F, Compute::CUBLAS_COMPUTE_64F),
        Element::Fp32 => alike(Data::CUDA_R_32F, Compute::CUBLAS_COMPUTE_32F),
        Element::Tf32 => alike(Data::CUDA_R_32F, Compute::CUBLAS_COMPUTE_32F_FAST_TF32),
        Element::Fp16 => alike(Data::CUDA_R_16F, Compute::CUBLAS_COMPUTE_32F),
        Element::Bf16 => alike(Data::CUDA_R_16BF, Compute::CUBLAS_COMPUTE_32F),
        Element::Int8 => {
            Types { factor: Data::CUDA_R_8I, result: Data::CUDA_R_32I, compute: Compute::CUBLAS_COMPUTE_32I }
        }
    }
}

/// cudarc panics where the driver lacks a function that is called: so each is looked for before.
fn check_functions() -> Result<(), CalibrateError> {
    // SAFETY: the library is there, and nothing is called
    let lacks = |name: &&&str| unsafe { sys::culib().get::<*const ()>(name.as_bytes()).is_err() };
    match FUNCTIONS.iter().find(lacks) {
        Some(name) => Err(CalibrateError::OldDriver { found: format!("lacks {name}"), needed: CUDA.1 }),
        None => Ok(()),
    }
}

fn cuda_version() -> Result<i32, CalibrateError> {
    let mut version = 0;
    // SAFETY: it writes one number
    unsafe { sys::cuDriverGetVersion(&mut version) }
        .result()
        .map_err(CalibrateError::driver("asked for its version"))?;
    Ok(version)
}

/// `12080` is 12.8.
fn spell(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}
