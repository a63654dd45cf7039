// When the state of a CapServer is saved (Belay §6.12).
// Never here: what the state is, or where it is kept.

/** Milliseconds until a saver that failed is called again; doubled each time up to the second. */
const RETRY_FIRST = 1000;
const RETRY_MAX = 60000;

/** Calls `saver` after changes: no two calls at a time, one call for all changes that wait. */
class Persistifier {
  constructor(saver, maxInterval, snapshot) {
    Object.assign(this, { saver, maxInterval, snapshot });
    Object.assign(this, { isDirty: false, isSaving: false, isStopped: false, retry: RETRY_FIRST });
    this.onPageHide = () => this.save();
    if (typeof addEventListener === "function") addEventListener("pagehide", this.onPageHide);
  }

  changed() {
    if (!this.isDirty && !this.isSaving) this.saveWithin(this.maxInterval);
    this.isDirty = true;
  }

  stop() {
    this.isStopped = true;
    clearTimeout(this.timer);
    if (typeof removeEventListener === "function") removeEventListener("pagehide", this.onPageHide);
  }

  saveWithin(milliseconds) {
    if (milliseconds > 0) this.timer = setTimeout(() => this.save(), milliseconds);
    else queueMicrotask(() => this.save());
  }

  save() {
    if (!this.isDirty || this.isSaving || this.isStopped) return;
    clearTimeout(this.timer);
    Object.assign(this, { isDirty: false, isSaving: true });
    // A saver that throws has failed as one whose promise is rejected.
    new Promise((resolve) => { resolve(this.saver(this.snapshot())); }).then(
      () => this.saved(),
      (error) => this.failed(error),
    );
  }

  saved() {
    Object.assign(this, { isSaving: false, retry: RETRY_FIRST });
    if (this.isDirty) this.saveWithin(this.maxInterval);
  }

  failed(error) {
    report(error);
    Object.assign(this, { isSaving: false, isDirty: true });
    this.saveWithin(this.retry);
    this.retry = Math.min(this.retry * 2, RETRY_MAX);
  }
}
