/** Where the committed matcher is. */

/** Folder of presets, as a URL: beside `src` and beside `dist`. */
export const presetsLocation = new URL('../presets/', import.meta.url);
