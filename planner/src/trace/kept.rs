//! What a trace keeps when that is most, by category.

use super::{ByCategory, Category, Cursor, Trace};
use crate::bytes::Bytes;

impl Trace {
    /// The bytes that the run keeps on the host when they are most.
    pub fn host_bytes(&self) -> Bytes {
        self.host.iter().map(|(_, bytes)| *bytes).sum()
    }

    /// What of the trace's memory is kept beyond an operator, when that is most: by category, in the categories' order.
    pub(crate) fn kept_at_most(&self) -> Vec<(Category, Bytes)> {
        let kept = |bytes: &ByCategory| bytes.total() - bytes.of(Category::Temporaries);
        let mut cursor = Cursor::new(self);
        let mut most = ByCategory::default();
        while cursor.step().is_some() {
            if kept(cursor.bytes()) > kept(&most) {
                most = *cursor.bytes();
            }
        }
        most.iter().filter(|(category, bytes)| *category != Category::Temporaries && bytes.0 > 0).collect()
    }
}
