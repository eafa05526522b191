// The first import of a component's entry: no clock and no randomness from here on, and the log goes to the host.

import { withoutTheWorld } from "./world.js";

withoutTheWorld(globalThis);

export { exported } from "./export.js";
export { connect } from "./log.js";
