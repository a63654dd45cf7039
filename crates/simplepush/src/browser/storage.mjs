// Where the state is kept: in IndexedDB, which pages and workers have; where there is none, nowhere.

const STORE = "state";

function finished(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

class Database {
  constructor(database, key) {
    this.database = database;
    this.key = key;
  }

  load() {
    return finished(this.database.transaction(STORE).objectStore(STORE).get(this.key));
  }

  save(state) {
    const transaction = this.database.transaction(STORE, "readwrite");
    transaction.objectStore(STORE).put(state, this.key);
    return new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error);
    });
  }
}

export const memory = { load: async () => undefined, save: async () => {} };

// The state that has this name.
export async function open(key) {
  try {
    const request = indexedDB.open("simplepush", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    return new Database(await finished(request), key);
  } catch {
    return memory;
  }
}
