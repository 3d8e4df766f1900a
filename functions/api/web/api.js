// Requests to the API that this page came from. Addresses are relative, so that a stage in the path is kept.

/** What went wrong, in words for people. */
export class Failure extends Error {}

/** Address of a path with parameters; commas, colons and slashes stay readable. */
export function address(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = given.map(([name, value]) => `${name}=${readable(String(value))}`).join("&");
  return new URL(query ? `${path}?${query}` : path, document.baseURI).href;
}

const readable = (text) => encodeURIComponent(text).replaceAll("%2C", ",").replaceAll("%3A", ":").replaceAll("%2F", "/");

/** JSON of an address. Throws Failure, or AbortError where the signal says so. */
export async function get(url, signal) {
  let response;
  try {
    response = await fetch(url, { signal, headers: { accept: "application/json" } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("The API cannot be reached.");
  }
  let told = null;
  try {
    told = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
  }
  if (response.ok && told !== null) return told;
  const why = told?.detail ?? told?.message ?? "no more is known";
  const id = told?.request_id ? ` (request ${told.request_id})` : "";
  throw new Failure(`The API answered ${response.status}: ${why}${id}`);
}

/** Runs one request at a time: a newer one ends the one before it. */
export class Latest {
  #running = null;

  /** JSON of the address; undefined where a newer request took over. */
  async get(url) {
    this.#running?.abort();
    const controller = (this.#running = new AbortController());
    try {
      const told = await get(url, controller.signal);
      return controller === this.#running ? told : undefined;
    } catch (error) {
      if (error.name === "AbortError" || controller !== this.#running) return undefined;
      throw error;
    }
  }

  stop() {
    this.#running?.abort();
    this.#running = null;
  }
}
