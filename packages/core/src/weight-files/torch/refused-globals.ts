/**
 * Names that weight files have no use for and files with a program in them do. This is for a clear word about such a
 * file; safety does not rest on it, because no name is ever looked up or called, whether it is listed here or not.
 */
import type { PickleGlobal } from './pickle-values.js';

/** What to do about a file that names them. */
export const hostileHint =
  'this file asks to run a program, which weights never need: do not open it elsewhere; get the weights from a source that you trust, best as safetensors';

/** Top-level modules of Python 2.7 to 3.14. */
const standardModules = new Set(
  (
    'BaseHTTPServer Bastion CGIHTTPServer ConfigParser Queue SimpleHTTPServer SocketServer StringIO Tkinter ' +
    'UserDict UserList UserString __builtin__ __future__ _abc _aix_support _android_support _apple_support _ast ' +
    '_asyncio _bisect _blake2 _bootsubprocess _bz2 _codecs _codecs_cn _codecs_hk _codecs_iso2022 _codecs_jp ' +
    '_codecs_kr _codecs_tw _collections _collections_abc _compat_pickle _compression _contextvars _crypt _csv ' +
    '_ctypes _curses _curses_panel _datetime _dbm _decimal _elementtree _frozen_importlib ' +
    '_frozen_importlib_external _functools _gdbm _hashlib _heapq _imp _interpreters _io _ios_support _json ' +
    '_locale _lsprof _lzma _markupbase _md5 _msi _multibytecodec _multiprocessing _opcode _opcode_metadata ' +
    '_operator _osx_support _overlapped _pickle _posixshmem _posixsubprocess _py_abc _pydecimal _pyio _pyrepl ' +
    '_queue _random _scproxy _sha1 _sha256 _sha3 _sha512 _signal _sitebuiltins _socket _sqlite3 _sre _ssl _stat ' +
    '_statistics _string _strptime _struct _subprocess _suggestions _symtable _sysconfig _thread _threading_local ' +
    '_tkinter _tokenize _tracemalloc _typing _uuid _warnings _weakref _weakrefset _winapi _winreg _zoneinfo abc ' +
    'aifc annotationlib antigravity argparse array ast asynchat asyncio asyncore atexit audioop base64 bdb ' +
    'binascii bisect builtins bz2 cPickle cProfile cStringIO calendar cgi cgitb chunk cmath cmd code codecs ' +
    'codeop collections colorsys commands compileall concurrent configparser contextlib contextvars copy copy_reg ' +
    'copyreg crypt csv ctypes curses dataclasses datetime dbm decimal difflib dircache dis distutils dl doctest ' +
    'email encodings ensurepip enum errno exceptions faulthandler fcntl filecmp fileinput fnmatch fpformat ' +
    'fractions ftplib functools gc genericpath getopt getpass gettext glob graphlib grp gzip hashlib heapq hmac ' +
    'html htmllib http httplib idlelib ihooks imaplib imghdr imp importlib imputil inspect io ipaddress itertools ' +
    'json keyword lib2to3 linecache locale logging lzma mailbox mailcap marshal math md5 mhlib mimetools ' +
    'mimetypes mimewriter mimify mmap modulefinder msilib msvcrt multifile multiprocessing mutex netrc new nis ' +
    'nntplib nt ntpath nturl2path numbers opcode operator optparse os os2 ossaudiodev pathlib pdb pickle ' +
    'pickletools pipes pkgutil platform plistlib popen2 poplib posix posixfile posixpath pprint profile pstats ' +
    'pty pwd py_compile pyclbr pydoc pydoc_data pyexpat queue quopri random re readline reprlib resource rexec ' +
    'rfc822 rlcompleter runpy sched secrets select selectors sets sgmllib sha shelve shlex shutil signal site ' +
    'smtpd smtplib sndhdr socket socketserver spwd sqlite3 sre_compile sre_constants sre_parse ssl stat ' +
    'statistics statvfs string stringprep struct subprocess sunau symtable sys sysconfig syslog tabnanny tarfile ' +
    'telnetlib tempfile termios textwrap this thread threading time timeit tkinter token tokenize tomllib trace ' +
    'traceback tracemalloc tty turtle turtledemo types typing unicodedata unittest urllib urllib2 urlparse user ' +
    'uu uuid venv warnings wave weakref webbrowser whichdb winreg winsound wsgiref xdrlib xml xmlrpc xmlrpclib ' +
    'zipapp zipfile zipimport zlib zoneinfo'
  ).split(' '),
);

/** What of those modules makes or is plain data. */
const inertGlobals = new Set([
  ...['builtins', '__builtin__'].flatMap((module) =>
    (
      'set frozenset bytes bytearray complex slice range xrange list dict tuple int long float bool str unicode ' +
      // Protocols below 4 name a class within a class so; what comes out is looked at like any other name.
      'object NoneType Ellipsis NotImplemented getattr'
    )
      .split(' ')
      .map((name) => `${module}.${name}`),
  ),
  ...(
    'collections.OrderedDict collections.defaultdict collections.Counter collections.deque collections.ChainMap ' +
    'collections.UserDict collections.UserList collections.UserString UserDict.UserDict UserList.UserList sets.Set ' +
    'datetime.datetime datetime.date datetime.time datetime.timedelta datetime.timezone datetime.tzinfo decimal.Decimal ' +
    'decimal.Context fractions.Fraction uuid.UUID uuid.SafeUUID argparse.Namespace zoneinfo.ZoneInfo ' +
    'zoneinfo.ZoneInfo._unpickle array.array array._array_reconstructor enum.Enum enum.IntEnum enum.Flag enum.IntFlag ' +
    'enum.StrEnum ipaddress.IPv4Address ipaddress.IPv6Address typing.Any typing.Union typing.Optional typing.List ' +
    'typing.Dict typing.Tuple typing.Callable _codecs.encode copyreg._reconstructor copyreg.__newobj__ ' +
    'copyreg.__newobj_ex__ copy_reg._reconstructor copy_reg.__newobj__ types.SimpleNamespace types.NoneType ' +
    'functools.partial operator.itemgetter _operator.itemgetter itertools.count itertools.cycle itertools.chain ' +
    'itertools.repeat re._compile sre_compile.compile re.RegexFlag _io.BytesIO _io.StringIO io.BytesIO io.StringIO ' +
    'random.Random time.struct_time logging.getLogger logging.Logger string.Template weakref.WeakKeyDictionary ' +
    'weakref.WeakValueDictionary dataclasses._MISSING_TYPE numbers.Number numbers.Real numbers.Integral abc.ABCMeta'
  ).split(' '),
  ...['pathlib', 'pathlib._local'].flatMap((module) =>
    ['Path', 'PosixPath', 'WindowsPath', 'PurePath', 'PurePosixPath', 'PureWindowsPath'].map(
      (name) => `${module}.${name}`,
    ),
  ),
]);

/** Other packages, or parts of them, that run programs, fetch files or load code. */
const executors = new Set(
  (
    'torch.hub torch.jit torch.ops torch.classes torch.serialization torch.package torch.compile torch.load torch.library ' +
    'torch._dynamo torch._inductor torch.fx torch.testing torch.multiprocessing torch.distributed.rpc ' +
    'torch.distributed.run torch.distributed.launch torch.distributed.elastic torch.distributed.launcher ' +
    'torch.utils.cpp_extension torch.utils.collect_env torch.utils.bottleneck torch.utils._config_module ' +
    'torch.utils.model_zoo torch.utils.data.datapipes.utils.decoder torch.storage._load_from_bytes torch._C._import_py_object ' +
    'numpy.load numpy.loads numpy.fromfile numpy.memmap numpy.testing numpy.f2py numpy.distutils numpy.ctypeslib ' +
    'numpy.lib.npyio numpy.core._exec numpy.vectorize pandas.eval pandas.io pandas.core.computation pandas.read_pickle ' +
    'pip setuptools pkg_resources _distutils_hack wheel dill cloudpickle joblib requests urllib3 httpx httplib2 aiohttp ' +
    'paramiko fabric invoke sh plumbum pexpect ptyprocess IPython ipykernel nbconvert jupyter_client pytest _pytest py ' +
    'sitecustomize usercustomize win32api win32com win32process pythoncom pywintypes psutil jinja2 mako yaml sympy ' +
    'numexpr numba cffi Cython pyximport execnet rpyc ansible docker git boto3 twisted celery asteval nltk langchain ' +
    'tensorflow.raw_ops tensorflow.python.framework.load_library keras.models keras.utils.get_file'
  ).split(' '),
);

/** Functions by these names run or fetch something in whatever module they are. */
const executorNames = new Set(
  (
    'eval exec execfile compile system popen Popen spawn run open urlopen urlretrieve load loads load_library load_module ' +
    'loadlib LoadLibrary import_module exec_module resolve_name run_code run_module run_path runcode runstring ' +
    'exec_command check_output check_call getoutput getattr setattr delattr methodcaller attrgetter sympify read_pickle ' +
    'unsafe_load pipepager startfile rmtree unlink'
  ).split(' '),
);

/** Longer names are refused unread. */
const maximumLength = 512;

/** True for a name that is refused wherever it stands, called or not. */
export function isRefusedGlobal({ module, name: given }: PickleGlobal): boolean {
  // To make an object of a class is as harmless as the class.
  const name = given.replace(/(?<=.)\.__new__$/, '');
  const path = `${module}.${name}`;
  if (path.length > maximumLength) return true;
  if (inertGlobals.has(path)) return false;
  const parts = name.split('.');
  // A way out of the module: `torch.serialization` `os.system`, `__builtins__`, `x.__init__.__globals__`.
  if (
    parts.some((part, i) => part === '' || /^__.*__$/.test(part) || (standardModules.has(part) && i < parts.length - 1))
  )
    return true;
  if (standardModules.has(module.split('.')[0]!)) return true;
  // The name and all that it is part of: `a`, `a.b`, `a.b.c`.
  for (let dot = path.indexOf('.'); dot >= 0; dot = path.indexOf('.', dot + 1))
    if (executors.has(path.slice(0, dot))) return true;
  return executors.has(path) || executorNames.has(parts.at(-1)!);
}
