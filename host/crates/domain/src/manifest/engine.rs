//! Which engine a plugin needs: compiled code, or a component that carries an interpreter.

use serde::{Deserialize, Serialize};

/// The host's two engines. A plugin says which it needs, its binary must prove it, and nothing of one ever meets the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineKind {
    /// Code compiled to WebAssembly: Rust and its like. A fresh instance takes microseconds.
    #[default]
    Native,
    /// A component with a whole language in it: JavaScript, Python. A fresh instance takes milliseconds, and few run at once.
    Interpreter,
}

impl EngineKind {
    /// Both.
    pub const ALL: [EngineKind; 2] = [EngineKind::Native, EngineKind::Interpreter];

    /// Most core instances of a native component: its module and the two that link its imports, with room for a few more. An interpreter is
    /// linked from more: that is how a binary proves that it needs the other engine.
    pub const NATIVE_INSTANCES_MAX: u32 = 10;

    /// The word in the manifest.
    pub fn word(self) -> &'static str {
        match self {
            EngineKind::Native => "native",
            EngineKind::Interpreter => "interpreter",
        }
    }

    /// Whether it is the usual one, which a manifest does not name.
    pub fn is_native(&self) -> bool {
        *self == EngineKind::Native
    }

    /// The largest component, in bytes: 2 MiB native, 32 MiB with an interpreter. Compiling takes about a second for each MiB.
    pub fn component_bytes_max(self) -> usize {
        match self {
            EngineKind::Native => 2 << 20,
            EngineKind::Interpreter => 32 << 20,
        }
    }

    /// Most functions in a component: far more than 2 MiB of honest code have, and than CPython has. The author's check and the host's door
    /// both count them.
    pub const fn functions_max(self) -> u32 {
        match self {
            EngineKind::Native => 20_000,
            EngineKind::Interpreter => 60_000,
        }
    }
}
