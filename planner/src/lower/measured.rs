//! Workspaces that only cuDNN knows: those of a profile, and which ones a run asks for.

use super::context::Context;
use super::timeline::FxIndexSet;
use crate::graph::Dims;
use crate::read::profiles::{AttentionKey, ConvolutionKey, Profile};

/// The calls of cuDNN that a run makes, each once.
#[derive(Clone, Debug, Default)]
pub struct CudnnCalls {
    /// Convolutions.
    pub convolutions: FxIndexSet<ConvolutionKey>,
    /// Attention without a mask and without dropout.
    pub attention: FxIndexSet<AttentionKey>,
}

impl CudnnCalls {
    /// Whether a profile has measured all of the convolutions.
    pub fn are_measured(&self, profile: &Profile) -> bool {
        self.convolutions.iter().all(|key| profile.convolution(key).is_some())
    }
}

impl Context {
    /// A convolution runs: the workspace that was measured for it is taken and given back.
    pub(crate) fn convolve(&mut self, key: impl FnOnce() -> Option<ConvolutionKey>) {
        if self.timeline.is_none() && self.settings.profile.is_none() {
            return;
        }
        let Some(key) = key() else { return };
        let measured = self.settings.profile.as_ref().and_then(|profile| profile.convolution(&key));
        if let Some(timeline) = &mut self.timeline {
            timeline.cudnn.convolutions.insert(key);
        }
        if let Some(measured) = measured {
            self.workspace("cudnn", measured.0);
        }
    }

    /// What was measured for a call of cuDNN's attention, forward and backward.
    pub(crate) fn attention_workspaces(&mut self, key: impl FnOnce() -> Option<AttentionKey>) -> [u64; 2] {
        if self.timeline.is_none() && self.settings.profile.is_none() {
            return [0; 2];
        }
        let Some(key) = key() else { return [0; 2] };
        let measured = self.settings.profile.as_ref().and_then(|profile| profile.attention(&key));
        if let Some(timeline) = &mut self.timeline {
            timeline.cudnn.attention.insert(key);
        }
        measured.map_or([0; 2], |found| [found.forward.0, found.backward.0])
    }
}

/// Four sizes, if there are so many.
pub(crate) fn four(sizes: &Dims) -> Option<[u64; 4]> {
    sizes[..].try_into().ok()
}
