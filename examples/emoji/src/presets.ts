/** Where the committed weights are. */

/** Folder of presets, as a URL: beside `src` and beside `dist`. */
export const presetsLocation = new URL('../presets/', import.meta.url);
