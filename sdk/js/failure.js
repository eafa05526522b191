// A plugin's own refusal, as a value. Thrown or noted; anything else that is thrown is a fault of the plugin.

/** The code of a failure about settings. A plugin that reads settings lists it in its manifest. */
export const SETTINGS_INVALID = "settings_invalid";

/** Longest message, in characters: the host refuses long ones, and it may quote a partner. */
const MESSAGE_CHARS_MAX = 500;

export class Failure extends Error {
  /** A refusal with one of the manifest's codes. `message` is for operators; `text` is the key of the text that the user sees. */
  constructor(code, message, { text, retryable = false } = {}) {
    super([...message].slice(0, MESSAGE_CHARS_MAX).join(""));
    this.name = "Failure";
    this.code = code;
    this.text = text;
    this.retryable = retryable;
  }

  /** As the contract has it. */
  toRecord() {
    return { code: this.code, message: this.message, text: this.text ?? null, retryable: this.retryable };
  }
}
