// @ts-check

/**
 * A request that failed. `code` is the server's error code, or one of the client's own:
 * `closed`, `left`, `expired`, `queue_full`, `bad_text`, `not_joined`, `refused`.
 */
export class RoomringError extends Error {
  /**
   * @param {string} code
   * @param {string} [message]
   */
  constructor(code, message) {
    super(message || code);
    this.name = 'RoomringError';
    this.code = code;
  }
}
