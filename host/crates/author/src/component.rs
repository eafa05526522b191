//! Makes a component of a core module for a world that is given beside it, for modules that no SDK's bindings have described.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

/// Why a module becomes no component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the module becomes no component: {0}")]
pub struct ComponentError(String);

/// The component of a core module that imports and exports what this world does. It is not validated: whoever loads it does that. Errors:
/// the module does not fit the world.
pub fn component(mut core: Vec<u8>, resolve: &Resolve, world: WorldId) -> Result<Vec<u8>, ComponentError> {
    let unfit = |error| ComponentError(format!("{error:#}"));
    embed_component_metadata(&mut core, resolve, world, StringEncoding::UTF8, false).map_err(unfit)?;
    let mut encoder = ComponentEncoder::default();
    let encoder = encoder.validate(false).module(&core).map_err(unfit)?;
    encoder.encode().map_err(unfit)
}
