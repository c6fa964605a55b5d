// Kernels that are timed, and the one that a replay runs. Compiled by NVRTC on the machine that they run on.
// Each reads and writes what its comment says, once; threads go over their elements in strides of the grid.

#define EACH(i, n) \
    for (unsigned long long i = blockIdx.x * (unsigned long long)blockDim.x + threadIdx.x; i < (n); i += gridDim.x * (unsigned long long)blockDim.x)

// Nothing: what a launch costs.
extern "C" __global__ void nothing() {}

// Writes n bytes; a replay runs it over every byte that is allocated.
extern "C" __global__ void touch(unsigned char *out, unsigned long long n, unsigned char value) {
    EACH(i, n) out[i] = value;
}

// Reads 16 n bytes, writes 16 n.
extern "C" __global__ void copy(const float4 *x, float4 *out, unsigned long long n) {
    EACH(i, n) out[i] = x[i];
}

// Reads 32 n bytes, writes 16 n; 4 n operations.
extern "C" __global__ void add(const float4 *x, const float4 *y, float4 *out, unsigned long long n) {
    EACH(i, n) {
        float4 a = x[i], b = y[i];
        out[i] = make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
    }
}

// Reads 4 n bytes and writes one float a block: the sums of what its threads read.
extern "C" __global__ void sum(const float *x, float *out, unsigned long long n) {
    __shared__ float parts[256];
    float part = 0;
    EACH(i, n) part += x[i];
    parts[threadIdx.x] = part;
    for (int half = 128; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) parts[threadIdx.x] += parts[threadIdx.x + half];
    }
    if (threadIdx.x == 0) out[blockIdx.x] = parts[0];
}
