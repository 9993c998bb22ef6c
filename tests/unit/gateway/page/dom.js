/** As much of a document as the page's modules touch. */

export class Element {
  children = [];
  dataset = {};
  hidden = false;
  className = "";
  textContent = "";
  #classes = new Set();
  #listeners = [];
  #parent = null;

  constructor(...children) {
    this.append(...children);
  }

  get classList() {
    return {
      toggle: (name, on) => (on ? this.#classes.add(name) : this.#classes.delete(name)),
      contains: (name) => this.#classes.has(name),
    };
  }

  get firstElementChild() {
    return this.children[0] ?? null;
  }

  get lastElementChild() {
    return this.children.at(-1) ?? null;
  }

  append(...children) {
    for (const child of children) child.#parent = this;
    this.children.push(...children);
  }

  prepend(...children) {
    for (const child of children) child.#parent = this;
    this.children.unshift(...children);
  }

  replaceChildren(...children) {
    this.children = [];
    this.append(...children);
  }

  remove() {
    this.#parent.children = this.#parent.children.filter((child) => child !== this);
  }

  /** Those with a data-field, which is all that the page asks for. */
  querySelectorAll() {
    return this.children.flatMap((child) => [
      ...("field" in child.dataset ? [child] : []),
      ...child.querySelectorAll(),
    ]);
  }

  addEventListener(name, listener) {
    this.#listeners.push([name, listener]);
  }

  dispatch(name) {
    for (const [own, listener] of this.#listeners) if (own === name) listener();
  }
}

/** An element with a part for each field. */
export function withFields(...names) {
  const parts = names.map((name) => {
    const part = new Element();
    part.dataset.field = name;
    return part;
  });
  return new Element(new Element(...parts));
}

/** The text of an element's part. */
export function text(element, field) {
  return element.querySelectorAll().find((part) => part.dataset.field === field).textContent;
}

/** A document whose templates give an element with these fields. */
export function installDocument(fields) {
  const content = { firstElementChild: { cloneNode: () => withFields(...fields) } };
  globalThis.document = { getElementById: () => ({ content }), createElement: () => new Element() };
}
