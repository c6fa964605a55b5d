//! Plans of odd cases against what PyTorch recorded: `unseen.yaml`, `text.yaml`, `caches.yaml` and `experts.yaml` of
//! `tests/truth`, their records and traces.
//!
//! The emulated device on which they were recorded reads zeros on every copy to the host, so that a program decides
//! otherwise there: about packed sequences without a cache, about rotary frequencies. The plans do the same.

mod support;

use support::plans::all_are_the_same;

#[test]
fn odd_cases_have_pytorchs_event_stream_and_figures() {
    all_are_the_same("unseen", 40);
}

#[test]
fn families_that_came_later_have_pytorchs_event_stream_and_figures() {
    all_are_the_same("text", 140);
}

#[test]
fn static_caches_have_pytorchs_event_stream_and_figures() {
    all_are_the_same("caches", 77);
}

#[test]
fn mixtures_of_experts_have_pytorchs_event_stream_and_figures() {
    all_are_the_same("experts", 80);
}
