// Takes the clock and the randomness away before the plugin's own code runs: inside a component they would be those of its build.
//
// Only a component's entry imports this file; a plugin's time and randomness come with its context.

/** Leaves the world without a clock and without randomness, each with an error that says what to use. */
export function withoutTheWorld(world) {
  const Real = world.Date;
  const absent = (what, instead) => () => {
    throw new Error(`a plugin has no ${what}: use ${instead}`);
  };
  const now = absent("clock", "ctx.now");
  class Still extends Real {
    constructor(...parts) {
      if (parts.length === 0) now();
      super(...parts);
    }
  }
  Still.now = now;
  world.Date = Still;
  world.Math.random = absent("randomness", "ctx.seed");
  Reflect.deleteProperty(world, "performance");
}
