// The bar of the frame (Belay §13.6, §22.2): consent to a station, and its suggestions.
// Never here: what a click leads to.

/**
 * How long a button must be visible before it can be pressed, in milliseconds. More than the 500 of the
 * reference: for so long Chromium drops what is pressed in a frame of another site that has just moved.
 */
const VISIBLE_FIRST = 750;

/** Enables `button` once it was visible for a while, and disables it when it is covered or hidden. */
function enableWhenVisible(button) {
  let timer = null;
  const observer = new IntersectionObserver(
    ([...entries]) => {
      const { isIntersecting, isVisible = isIntersecting } = entries[entries.length - 1];
      clearTimeout(timer);
      button.disabled = true;
      if (!isVisible) return;
      timer = setTimeout(() => {
        button.disabled = false;
      }, VISIBLE_FIRST);
    },
    { threshold: 0.9, trackVisibility: true, delay: 100 },
  );
  button.disabled = true;
  observer.observe(button);
  return () => {
    clearTimeout(timer);
    observer.disconnect();
    button.disabled = true;
  };
}

/** The bar; `tell` asks the page to show or hide the frame. */
class Bar {
  constructor(document, tell) {
    const find = (id) => document.getElementById(id);
    Object.assign(this, { document, tell });
    this.question = find("consent");
    this.site = find("site");
    this.allow = find("allow");
    this.refuse = find("refuse");
    this.suggestions = find("suggestions");
    this.list = find("list");
    find("close").onclick = () => this.hide(this.suggestions);
  }

  show(part) {
    for (const one of [this.question, this.suggestions]) one.hidden = one !== part;
    this.tell("showButterBar");
  }

  hide(part) {
    if (part.hidden) return;
    part.hidden = true;
    this.tell("hideButterBar");
  }

  /** Whether the person lets pages of `origin` be the station. One question at a time: else 429. */
  async consent(origin) {
    if (!this.question.hidden) throw failure(429);
    this.site.textContent = origin;
    this.site.title = origin;
    this.show(this.question);
    const stops = [this.allow, this.refuse].map(enableWhenVisible);
    const answer = await new Promise((resolve) => {
      const settle = (isAllowed) => ({ isTrusted }) => isTrusted && resolve(isAllowed);
      this.allow.onclick = settle(true);
      this.refuse.onclick = settle(false);
    });
    for (const stop of stops) stop();
    this.hide(this.question);
    return answer;
  }

  /** Offers the suggestions of a station; `choose` gets the one that is clicked. */
  suggest(suggestions, choose) {
    if (suggestions.length === 0 || !this.question.hidden) return;
    const items = suggestions.map((suggestion) => {
      const [item, button] = ["li", "button"].map((name) => this.document.createElement(name));
      button.textContent = suggestion.name;
      const stop = enableWhenVisible(button);
      button.onclick = ({ isTrusted }) => {
        if (!isTrusted) return;
        stop();
        this.hide(this.suggestions);
        choose(suggestion);
      };
      item.append(button);
      return item;
    });
    this.list.replaceChildren(...items);
    this.show(this.suggestions);
  }
}
