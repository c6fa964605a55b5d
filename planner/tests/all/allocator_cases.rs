//! Small cases of the allocator whose figures PyTorch 2.11.0 gave on an emulated GPU of the stated size. `a(n)` in the
//! comments is `torch.empty(int(n * 2**20), dtype=torch.uint8, device="cuda")`.

#![allow(clippy::unwrap_used)] // Helpers of tests may.

use planner::allocate::{BlockId, BlockState, CachingAllocator, Events, StreamId};
use planner::bytes::{Bytes, MIB};

/// An allocator with the options' text on a device of that many MiB.
fn allocator(options: &str, capacity: u64) -> CachingAllocator {
    CachingAllocator::new(options.parse().unwrap(), Some(Bytes(capacity * MIB)))
}

/// `a(mebibytes)`.
fn a(allocator: &mut CachingAllocator, mebibytes: f64) -> BlockId {
    allocator.allocate(Bytes((mebibytes * MIB as f64) as u64), StreamId(0)).unwrap()
}

/// Allocated, its peak, reserved, its peak in bytes; num_alloc_retries; num_ooms.
fn figures(allocator: &CachingAllocator) -> [u64; 6] {
    let s = allocator.stats();
    [s.allocated.0, s.peak_allocated.0, s.reserved.0, s.peak_reserved.0, s.num_alloc_retries, s.num_ooms]
}

/// Segments with their blocks in MiB, free ones in parentheses.
fn segments(allocator: &CachingAllocator) -> String {
    let mebibytes = |bytes: Bytes| bytes.0 as f64 / MIB as f64;
    let segments = allocator.snapshot().into_iter().map(|segment| {
        let blocks = segment.blocks.iter().map(|block| match block.state {
            BlockState::Free => format!("({})", mebibytes(block.size)),
            BlockState::Used | BlockState::Waiting => format!("{}", mebibytes(block.size)),
        });
        format!("{}: {}", mebibytes(segment.size), blocks.collect::<Vec<_>>().join(" "))
    });
    segments.collect::<Vec<_>>().join("; ")
}

/// 100 MiB: x=a(30); y=a(40); del x; z=a(50); a(20) fails; del y; w=a(45)
#[test]
fn everything_cached_is_released_before_a_retry() {
    let mut gpu = allocator("", 100);
    let (x, y) = (a(&mut gpu, 30.0), a(&mut gpu, 40.0));
    gpu.free(x);
    a(&mut gpu, 50.0);
    assert_eq!(figures(&gpu), [94371840, 94371840, 94371840, 94371840, 1, 0]);
    assert_eq!(segments(&gpu), "40: 40; 50: 50");
    let retry = gpu.retries()[0];
    assert_eq!(
        (retry.allocation, retry.segment, retry.released, retry.succeeded),
        (2, Bytes(50 * MIB), Bytes(30 * MIB), true)
    );

    let error = gpu.allocate(Bytes(20 * MIB), StreamId(0)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "out of memory: 20.00 MiB asked for, 90.00 MiB allocated, 90.00 MiB reserved of 100.00 MiB"
    );
    assert_eq!(error.segment, Bytes(20 * MIB));
    assert_eq!(figures(&gpu), [94371840, 94371840, 94371840, 94371840, 2, 1]);

    gpu.free(y);
    a(&mut gpu, 45.0);
    assert_eq!(figures(&gpu), [100663296, 100663296, 100663296, 100663296, 3, 1]);
    assert_eq!(segments(&gpu), "50: 50; 46: 46");
}

/// max_split_size_mb:32, 1000 MiB: x=a(64); del x; y=a(10); z=a(40); w=a(50); del z; v=a(39)
#[test]
fn oversize_blocks_are_not_split() {
    let mut gpu = allocator("max_split_size_mb:32", 1000);
    let x = a(&mut gpu, 64.0);
    gpu.free(x);
    a(&mut gpu, 10.0);
    assert_eq!(figures(&gpu), [10485760, 67108864, 77594624, 77594624, 0, 0]);
    let z = a(&mut gpu, 40.0);
    assert_eq!(figures(&gpu), [52428800, 67108864, 119537664, 119537664, 0, 0]);
    assert_eq!(segments(&gpu), "64: (64); 10: 10; 40: 40");
    a(&mut gpu, 50.0);
    assert_eq!(figures(&gpu), [119537664, 119537664, 119537664, 119537664, 0, 0]);
    gpu.free(z);
    a(&mut gpu, 39.0);
    assert_eq!(figures(&gpu), [119537664, 119537664, 119537664, 119537664, 0, 0]);
    assert_eq!(segments(&gpu), "64: 64; 10: 10; 40: 40");
}

/// max_split_size_mb:32, 200 MiB: x=a(60); y=a(50); w=a(40); del x, y, w; z=a(90); v=a(70)
#[test]
fn just_enough_oversize_blocks_are_released() {
    let mut gpu = allocator("max_split_size_mb:32", 200);
    let held = [60.0, 50.0, 40.0].map(|size| a(&mut gpu, size));
    held.iter().for_each(|id| assert!(gpu.free(*id)));
    assert_eq!(figures(&gpu), [0, 157286400, 157286400, 157286400, 0, 0]);
    a(&mut gpu, 90.0);
    assert_eq!(figures(&gpu), [94371840, 157286400, 136314880, 157286400, 0, 0]);
    assert_eq!(segments(&gpu), "40: (40); 90: 90");
    a(&mut gpu, 70.0);
    assert_eq!(figures(&gpu), [167772160, 167772160, 209715200, 209715200, 0, 0]);
    assert_eq!(segments(&gpu), "40: (40); 90: 90; 70: 70");
}

/// x = torch.empty(n, dtype=torch.uint8, device="cuda"); memory_allocated(); del x, for each n in turn
#[test]
fn sizes_are_rounded_as_pytorch_does() {
    let single = [
        (1, 512),
        (512, 512),
        (2000, 2048),
        (2048, 2048),
        (2049, 2560),
        (2561, 3072),
        (100000, 114688),
        (1300000, 1310720),
        (5242881, 6291456),
        (34603008, 41943040),
    ];
    let list = [
        (2049, 2560),
        (1300000, 1310720),
        (2097153, 2359296),
        (4194305, 4194816),
        (9437184, 12582912),
        (17825792, 17825792),
        (34603008, 41943040),
        (68157440, 69206016),
    ];
    let above = [
        (2049, 2560),
        (1300000, 1300480),
        (2097153, 3145728),
        (4194305, 6291456),
        (9437184, 12582912),
        (17825792, 25165824),
        (34603008, 50331648),
        (68157440, 100663296),
    ];
    let rows: [(&str, &[(u64, u64)]); 3] = [
        ("roundup_power2_divisions:4", &single),
        ("roundup_power2_divisions:[2:8,8:2,32:4,>:1]", &list),
        ("roundup_power2_divisions:[>:2]", &above),
    ];
    for (options, sizes) in rows {
        let mut gpu = allocator(options, 1000);
        for (asked, rounded) in sizes {
            let id = gpu.allocate(Bytes(*asked), StreamId(0)).unwrap();
            assert_eq!(gpu.stats().allocated, Bytes(*rounded), "{options}: {asked} B");
            gpu.free(id);
        }
    }
}

/// expandable_segments:True, 100 MiB: x=a(30); y=a(25); del x; z=a(35); a(40) fails; s=a(0.5); del y; empty_cache()
#[test]
fn expandable_segments_grow_and_shrink_by_pages() {
    let mut gpu = allocator("expandable_segments:True", 100);
    let (x, y) = (a(&mut gpu, 30.0), a(&mut gpu, 25.0));
    assert_eq!(figures(&gpu), [57671680, 57671680, 62914560, 62914560, 0, 0]);
    gpu.free(x);
    a(&mut gpu, 35.0);
    assert_eq!(figures(&gpu), [62914560, 62914560, 104857600, 104857600, 0, 0]);
    assert_eq!(segments(&gpu), "100: (30) 25 35 (10)");
    gpu.allocate(Bytes(40 * MIB), StreamId(0)).unwrap_err();
    assert_eq!(figures(&gpu), [62914560, 62914560, 83886080, 104857600, 1, 1]);
    assert_eq!(segments(&gpu), "80: (10) 25 35 (10)");
    a(&mut gpu, 0.5);
    assert_eq!(figures(&gpu), [63438848, 63438848, 85983232, 104857600, 1, 1]);
    gpu.free(y);
    gpu.release_cached();
    assert_eq!(figures(&gpu), [37224448, 63438848, 65011712, 104857600, 1, 1]);
    assert_eq!(segments(&gpu), "60: (15) 35 (10); 2: 0.5 (1.5)");
}

/// 1000 MiB: s=Stream(); x=a(15); x.record_stream(s); del x; y=a(15); with stream(s): z=a(15)
#[test]
fn a_block_waits_for_the_streams_that_use_it() {
    let mut gpu = allocator("", 1000);
    let x = a(&mut gpu, 15.0);
    gpu.record_stream(x, StreamId(1));
    gpu.free(x);
    assert_eq!(figures(&gpu), [0, 16777216, 16777216, 16777216, 0, 0]);
    assert_eq!(gpu.stats().requested, Bytes(15728640));
    assert_eq!(gpu.snapshot()[0].blocks[0].state, BlockState::Waiting);
    a(&mut gpu, 15.0);
    assert_eq!(figures(&gpu), [16777216, 16777216, 16777216, 16777216, 0, 0]);
    gpu.allocate(Bytes(15 * MIB), StreamId(1)).unwrap();
    assert_eq!(figures(&gpu), [33554432, 33554432, 33554432, 33554432, 0, 0]);
}

/// The same with a stream that lags behind: the block can be had again only when the allocator waits for it.
#[test]
fn a_lagging_stream_keeps_its_blocks() {
    let mut gpu = allocator("", 1000).with_events(Events::DoneWhenWaitedFor);
    let x = a(&mut gpu, 15.0);
    gpu.record_stream(x, StreamId(1));
    gpu.free(x);
    a(&mut gpu, 15.0);
    assert_eq!(segments(&gpu), "16: 16; 16: 16");
    gpu.release_cached();
    assert_eq!(segments(&gpu), "16: 16");
}

/// garbage_collection_threshold:0.5,per_process_memory_fraction:0.5, 400 MiB:
/// x=a(40); y=a(30); del x; z=a(35); del y; w=a(60); v=a(70); a(50) fails
#[test]
fn garbage_is_collected_above_the_threshold() {
    let mut gpu = allocator("garbage_collection_threshold:0.5,per_process_memory_fraction:0.5", 400);
    let (x, y) = (a(&mut gpu, 40.0), a(&mut gpu, 30.0));
    gpu.free(x);
    a(&mut gpu, 35.0);
    assert_eq!(figures(&gpu), [68157440, 73400320, 73400320, 73400320, 0, 0]);
    gpu.free(y);
    a(&mut gpu, 60.0);
    assert_eq!(figures(&gpu), [99614720, 99614720, 136314880, 136314880, 0, 0]);
    assert_eq!(segments(&gpu), "40: 35 (5); 30: (30); 60: 60");
    a(&mut gpu, 70.0);
    assert_eq!(figures(&gpu), [173015040, 173015040, 178257920, 178257920, 0, 0]);
    assert_eq!(segments(&gpu), "40: 35 (5); 60: 60; 70: 70");
    let error = gpu.allocate(Bytes(50 * MIB), StreamId(0)).unwrap_err();
    assert_eq!(error.capacity, Some(Bytes(200 * MIB)));
    assert_eq!(figures(&gpu), [173015040, 173015040, 178257920, 178257920, 1, 1]);
}

/// No bytes make no event; 1 EiB is refused without looking; what is not in use cannot be freed.
#[test]
fn odd_requests_change_nothing() {
    for options in ["", "expandable_segments:True"] {
        let mut gpu = CachingAllocator::new(options.parse().unwrap(), None);
        let nothing = gpu.allocate(Bytes(0), StreamId(0)).unwrap();
        assert_eq!(nothing, BlockId::EMPTY);
        assert!(gpu.free(nothing));
        for bytes in [1 << 60, u64::MAX] {
            assert!(gpu.allocate(Bytes(bytes), StreamId(0)).is_err());
        }
        assert_eq!(figures(&gpu), [0; 6]);
        for stream in 0..3 {
            let _ = gpu.allocate(Bytes((1 << 60) - 1), StreamId(stream));
        }
        let id = gpu.allocate(Bytes(1), StreamId(7)).unwrap();
        assert!(gpu.free(id));
        assert!(!gpu.free(id));
    }
}
