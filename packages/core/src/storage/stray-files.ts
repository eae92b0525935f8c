/** Files that systems and programs leave in folders, beside what people put there. */

const folders = /^(?:\.|__MACOSX$|\$RECYCLE\.BIN$|System Volume Information$|@eaDir$)/i;
const names = /^(?:\.|(?:thumbs\.db|ehthumbs\.db|desktop\.ini|icon\r)$|~\$)/i;
const endings = /(?:\.(?:part|partial|incomplete|crdownload|download|aria2|tmp|temp|swp|lock)|~)$/i;

/**
 * True for names that are no part of a model: hidden ones (`.DS_Store`, and `._weights.pth`, which macOS writes beside
 * every file), those of file managers, and unfinished downloads.
 *
 * @param name - relative, `/` between folders.
 */
export function isStrayFile(name: string): boolean {
  const parts = name.split('/');
  const file = parts.pop() ?? '';
  return parts.some((part) => folders.test(part)) || names.test(file) || endings.test(file);
}
