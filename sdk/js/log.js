// Lines for operators, kept with the record of the call.

/** Natively there is no host: the line goes to the test's output. */
let write = (level, message) => console.error(`${level}: ${message}`);

/** Where lines go inside a component. */
export function connect(host) {
  write = host;
}

/** For whoever is looking for a mistake. */
export const debug = message => write("debug", String(message));
/** Something worth knowing. */
export const info = message => write("info", String(message));
/** Something odd that the plugin could deal with. */
export const warn = message => write("warn", String(message));
/** Something that should not have happened. */
export const error = message => write("error", String(message));
