// The gateway's mailbox for start records (Belay §22.5): what a window that opens shall become.
// Never here: what a record means.

/** Start records at the gateway: kept in its memory, for 60 s, until somebody takes them. */
class Starts {
  /** `server` restores the capabilities of a record; `base` is the URL that the paths are below. */
  constructor(server, base) {
    Object.assign(this, { server, base });
  }

  /** Keeps `record` for pages of `origin`, or of any if it is undefined; gives the start id. */
  async store(record, origin) {
    const reply = await this.post("start", origin === undefined ? { record } : { record, origin });
    return reply.startId;
  }

  /** The record of a start id, once; null if there is none for pages of `origin`. */
  async take(startId, origin) {
    try {
      return await this.post("start/take", origin === undefined ? { startId } : { startId, origin });
    } catch (error) {
      if (error.status === 404 || error.status === 403) return null;
      throw error;
    }
  }

  async post(path, value) {
    const response = await fetch(new URL(path, this.base), {
      method: "POST",
      body: this.server.dataPreProcess(value),
      credentials: "omit",
      cache: "no-store",
      redirect: "error",
    }).catch(() => {
      throw failure(503);
    });
    const text = await response.text();
    if (!response.ok) throw failure(response.status);
    return this.server.dataPostProcess(text);
  }
}
