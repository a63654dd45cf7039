// The router for tests and for programs that embed it, with a mailbox as the original's (Belay §10.1, §22.6).
// Never here: the relay, which is the hosted frame's; so is the mailbox that windows share.

/** Records that wait in one mailbox; beyond that the oldest is gone. */
const MAIL_MAX = 256;

/** Routes between the instances of this document, and those of others of its origin where locks allow. */
class MailRouter extends CapRouter {
  constructor() {
    super({ partition: Partition.isPossible ? new Partition() : null });
    Object.assign(this, { mail: new Map(), codec: new CapServer() });
    this.codec.setResolver(this.resolver);
  }

  /** Keeps a record until it is retrieved. */
  storeStart(id, record) {
    this.mail.delete(id);
    this.mail.set(id, { wire: this.codec.dataPreProcess(record), since: Date.now() });
    if (this.mail.size > MAIL_MAX) this.mail.delete(this.mail.keys().next().value);
  }

  /** The record of an id, once; null if there is none. */
  retrieveStart(id) {
    const { wire } = this.mail.get(id) || {};
    return this.mail.delete(id) ? this.codec.dataPostProcess(wire) : null;
  }

  /** Drops records that have waited for longer than this many milliseconds. */
  expireMessages(milliseconds) {
    for (const [id, { since }] of this.mail) {
      if (Date.now() - since > milliseconds) this.mail.delete(id);
    }
  }
}
