//! Numbers of what a program has: each type numbers one array.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl $name {
            /// The position in the array that it numbers.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

id!(
    /// A tensor of the program.
    TensorId
);
id!(
    /// An operator's call in the program.
    OpId
);
id!(
    /// A module of the model's tree.
    ModuleId
);

id!(
    /// A checkpointed call of a module.
    CheckpointId
);
id!(
    /// A call of a function with a gradient of its own.
    FunctionId
);
id!(
    /// An iteration of a loop that happens again.
    RepeatId
);
id!(
    /// A call of the model or of one of its blocks.
    CallId
);
