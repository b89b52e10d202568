// @ts-check

/**
 * Typed publish and subscribe. A handler that throws does not keep the others, or the connection, from going on:
 * its error is reported as an uncaught one.
 *
 * @template {Record<string, any[]>} Events event name to handler arguments
 */
export class Emitter {
  /** @type {Map<keyof Events, Set<(...args: any[]) => void>>} */
  #handlers = new Map();

  /**
   * @template {keyof Events} K
   * @param {K} event
   * @param {(...args: Events[K]) => void} handler
   * @returns {() => void} unsubscribe; calling it twice is harmless
   */
  on(event, handler) {
    let handlers = this.#handlers.get(event);
    if (!handlers) this.#handlers.set(event, (handlers = new Set()));
    const entry = /** @type {(...args: any[]) => void} */ ((...args) => handler(.../** @type {Events[K]} */ (args)));
    handlers.add(entry);
    return () => void handlers.delete(entry);
  }

  /**
   * @template {keyof Events} K
   * @param {K} event
   * @param {Events[K]} args
   */
  emit(event, ...args) {
    for (const handler of [...(this.#handlers.get(event) ?? [])]) {
      try {
        handler(...args);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
