/** Folder of a package, installed by itself, or why it cannot be had. */
export function cachedPackage(name: string, version: string): { folder: string } | { reason: string };
