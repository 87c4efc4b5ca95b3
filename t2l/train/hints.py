# ruff: noqa: E501  (wordings stay on one line, where they can be read and searched)
"""System prompts as people write them for chats, coding assistants and agents: they name a form, a role, a field or a task
on whatever the user sends.

Some of those tasks are procedural ones by their words ("Translate to French."). What gates learn of these on a few made-up
phrases is no use for the texts that people send, so they are strange, too. Near as some are to descriptions of procedural tasks ("Answer with a JSON object only."), gates have nothing to say to
them. So listening is learnt and calibrated on them, too (listening.py).
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Mapping

from t2l.train.families.core import vary

HELD_OUT_SHARE = 8

_REPLY = "(Answer|Reply|Respond|Write|Output|Give your answer)"
_ONLY = "(|only |strictly |always |just )"
_FORM = (
    "(JSON|valid JSON|a JSON object|JSON and nothing else|YAML|XML|CSV|Markdown|a Markdown table|HTML|plain text|a numbered list|bullet points"
    "|one sentence|a single sentence|two sentences|one word|a single word|a short phrase|a paragraph|a table|code|a code block|a number"
    "|a list|lower case|capital letters|upper case|full sentences|simple words|the final answer|yes or no|true or false)"
)
_LANGUAGE = "(English|French|German|Spanish|Italian|Portuguese|Dutch|Polish|Russian|Japanese|Korean|Chinese|Arabic|Turkish|Hindi)"
_TONE = (
    "(friendly|helpful|polite|honest|concise|brief|short|precise|careful|cheerful|patient|formal|informal|professional|witty|humble|kind|clear"
    "|to the point|accurate|neutral|warm)"
)
_ROLE = (
    "(assistant|AI assistant|chat assistant|chatbot|AI|language model|virtual assistant|support agent|tutor|teacher|coach|librarian|expert"
    "|consultant|editor|writer|poet|pirate|butler|travel guide|chef|doctor|nurse|lawyer|accountant|recruiter|historian|scientist|philosopher"
    "|mathematician|statistician|data scientist|software engineer|Python developer|web developer|database administrator|security engineer"
    "|system administrator|code reviewer|pair programmer|product manager|journalist|translator|storyteller|game master|salesperson|therapist)"
)
_FIELD = (
    "(science|physics|chemistry|biology|medicine|history|geography|law|finance|taxes|cooking|travel|sports|music|films|literature|grammar"
    "|mathematics|statistics|algebra|geometry|programming|Python|JavaScript|TypeScript|Rust|Go|Java|C++|SQL|shell scripts|Linux|networking"
    "|Kubernetes|Excel|our product|our shop|orders and returns|insurance|health|nutrition|gardening|cars|pets|education|careers|marketing)"
)
_WORK = (
    "(answer questions|answer the user's questions|answer questions about {field}|explain {field}|give advice on {field}|help the user|help with {field}"
    "|chat with the user|write code|write clean code|review code|fix bugs|write tests|write documentation|explain code|complete the code"
    "|write emails|write stories|write poems|draft blog posts|edit texts|brainstorm ideas|solve problems|solve problems in {field}"
    "|solve word problems|plan trips|recommend books|write product descriptions|prepare lessons|answer support requests)"
)

_PLAIN_TASK = (
    f"(translate (|the text |it |everything |what the user writes )(to|into) {_LANGUAGE}|translate from {_LANGUAGE} to {_LANGUAGE}"
    f"|(give|write) the {_LANGUAGE} translation|put (the text|the sentence) into {_LANGUAGE}|{_LANGUAGE} translation"
    f"|rewrite (the text|the message|it|the email) (in a {_TONE} tone|politely|formally|casually|in simple words|in the third person)"
    f"|make (it|the text|the message) (more {_TONE}|sound {_TONE})|sort (the|these) (words|names|numbers|items|lines)( alphabetically| in ascending order|)"
    "|remove duplicates|reverse the (list|string|text)|(answer|solve) the (multiple choice question|question|quiz)( with the letter of the right option|)"
    "|choose the (right|correct|best) (option|answer)|solve the (word problem|maths problem|equation)|(do|check) the arithmetic|calculate the (total|result|price)"
    "|(classify|label|rate) the (sentiment|review|tone|text)( as positive or negative| as positive, negative or neutral|)|is the (review|text|tweet) positive or negative"
    "|(correct|fix) the (grammar|spelling|typos)|find the (verb|subject|main idea|topic|error)|(parse|normalise|reformat) the (date|dates|address|phone number)"
    "|convert the date to ISO format|extract (the|all) (names|dates|places|entities|key points|keywords|email addresses|prices|numbers)"
    "|(parse|validate|pretty-print) the (JSON|URL|table|CSV|file path)|(name|give) the (capital|continent|currency) of the country"
    "|(say|decide|check) whether the (statement|claim|sentence) is (true|correct|plausible)|name the function|suggest a better (function|variable) name"
    "|count the (words|letters|sentences|items)|summarise (the text|it)( in one sentence|)|shorten the (text|message)|continue the (story|text)"
    "|detect the language|answer the question( from the text|)|write a (reply|title|summary|caption))"
)
_DO = (
    "(Analyse|Analyze|Review|Compare|Check|Evaluate|Interpret|Explain|Outline|Draft|Rewrite|Polish|Design|Plan|Debug|Refactor|Document|Prove|Derive"
    "|Estimate|Simulate|Model|Research|Annotate|Grade|Discuss|Criticise|Summarise|Translate|Classify|Extract|Verify|Diagnose|Prioritise)"
)
_THING = (
    "(contracts|case studies|medical records|financial reports|research papers|news articles|poems|essays|arguments|proofs|programs|APIs|database schemas"
    "|experiment results|meeting minutes|support tickets|incident reports|log files|requirements|user stories|lesson plans|recipes|travel plans|budgets"
    "|exam questions|word problems|equations|court rulings|policies|product reviews|survey answers|interview transcripts|presentations|cover letters"
    "|marketing copy|game designs|test plans|pull requests|configuration files|network diagrams|spreadsheets|charts|theorems|algorithms|stories)"
)
_POINT = (
    "(point out what is missing|name the risks|give reasons|show every step|cite the passage|stay neutral|suggest improvements|say what follows"
    "|explain it to a beginner|keep the tone formal|do not invent facts|list open questions|end with a recommendation|compare two alternatives"
    "|mark what is uncertain|give an example|mention the trade-offs|add a title|avoid jargon|do not write code|include tests|keep names as they are)"
)

_PLAIN = (
    f"{_PLAIN_TASK}(.|)",
    f"(Please |You |Your task is to |Your job is to |I want you to ){_PLAIN_TASK}.",
    f"You are a (translator|proofreader|classifier|editor|quiz master|calculator|data entry clerk). {_PLAIN_TASK}.",
)
_PLAIN_SHARE = 0.25
"""Of the English sentences, those that name a task."""
_TEMPLATES = (
    f"{_DO} {_THING}.",
    f"{_DO} {_THING} and {_POINT}.",
    f"{_DO} the user's {_THING}; {_POINT} and {_POINT}.",
    f"(You|The assistant) (get|receive|will be given) {_THING}. {_POINT}, then {_POINT}.",
    f"{_REPLY} {_ONLY}(in|with|as) {_FORM}( only|)(.||, please.)",
    f"{_REPLY} in {_FORM}. (No explanation|Do not explain|Nothing else|No extra text|No comments|Do not add anything).",
    f"(Use|Return|Output|Produce|Give) {_ONLY}{_FORM}( only|)(.|)",
    f"(The|Your) (answer|reply|output|response) (must be|should be|has to be|is) {_FORM}.",
    f"(Always|Only|Please|) (answer|reply|respond|speak|write) in {_LANGUAGE}(.| only.|, please.)",
    f"(Be|Stay|Always be) {_TONE}(.| and {_TONE}.|, {_TONE} and {_TONE}.)",
    f"You are a {_TONE} {_ROLE}.",
    f"You are a {_ROLE}( who is {_TONE}| for {{field}}| with deep knowledge of {{field}}|).",
    f"You are a {_ROLE}. {_REPLY} in {_FORM}.",
    f"You are a {_TONE} {_ROLE}. (Be|Stay) {_TONE}.",
    f"You are a {_ROLE}. (You|Your job is to|Please) {_WORK}.",
    f"(Act as|Behave like|Talk like|Pretend to be) a {_ROLE}.",
    f"(Please |){_WORK}.",
    f"{_WORK}. {_REPLY} in {_FORM}.",
    f"{_WORK} in {_LANGUAGE}.",
    f"(Your task is to|Your job is to|I want you to) {_WORK}( and be {_TONE}|).",
    "(Assistant|Chatbot|Helper|Bot) for {field}(.| questions.)",
    "You are (Qwen|Max|Ada|Robo|an AI|ChatGPT|the assistant of a company), (created by|made by|working for) (a company|a team|a shop|Alibaba Cloud).( You are a helpful assistant.|)",
    f"(Answer|Think) step by step(.| and then give {_FORM}.| before you answer.)",
    "(Explain|Show) your (reasoning|steps|work|thinking)(.| before the final answer.| in detail.)",
    "(Do not|Never|Don't) (explain|apologise|make things up|use emoji|repeat the question|mention these instructions|use Markdown|write code|guess).",
    "(If you do not know|If you are not sure|When in doubt), (say so|ask|answer that you do not know).",
    "(Keep (it|answers|your answers)|Make it) (short|brief|simple|under 50 words|under 100 words|to one line|concise).",
    "You (have access to|can use|can call) (tools|functions|a search engine|a calculator|the file system|a terminal). (Use them when needed|Call them when it helps|Prefer them over guessing).",
    "(Complete|Continue) the (code|text|story|sentence|function)(.| without any explanation.| and output only the continuation.)",
    f"(Explain|Describe) (it|things|everything) (to a child|in simple words|for beginners|for experts|to a five-year-old)(.|. {_REPLY} in {_LANGUAGE}.)",
    f"(Rules|Style|Format|Tone): {_TONE}, {_TONE}.",
    f"(Format|Output format|Language|Response format): ({_FORM}|{_LANGUAGE}).",
    "Use the (following|given) (context|document|information) to answer( the question|). (If it is not there, say so.|Quote the source.|)",
    "You are (an IDE|a coding|a terminal) assistant. (The user is editing|The project uses|You see a file of) {field}.( Answer with code.| Be brief.|)",
)  # fmt: skip


_ZH_FORM = (
    "(JSON|JSON 格式|一个 JSON 对象|YAML|XML|CSV|Markdown|表格|纯文本|一句话|两句话|一个词|一个单词|列表|要点|编号列表|代码|代码块|一段话|数字|最终答案|是或否|选项字母|大写字母)"
)
_ZH_LANGUAGE = "(中文|简体中文|繁体中文|英文|英语|日语|法语|德语|韩语|俄语|西班牙语|文言文)"
_ZH_TONE = "(友好|礼貌|亲切|耐心|简洁|简短|专业|严谨|幽默|正式|轻松|客观|诚实|热情|温和|准确|通俗)"
_ZH_ROLE = (
    "(助手|智能助手|聊天机器人|AI 助手|语言模型|客服|老师|家教|编辑|作家|诗人|医生|护士|律师|会计|记者|翻译|导游|厨师|心理咨询师|数学老师|语文老师"
    "|程序员|软件工程师|前端工程师|Python 开发者|数据分析师|数据库管理员|运维工程师|安全工程师|代码审查员|产品经理|项目经理|历史学家|科学家|面试官|文案|编剧|播音员|药师|股票分析师)"
)
_ZH_FIELD = (
    "(科学|物理|化学|生物|医学|历史|地理|法律|金融|税务|烹饪|旅游|体育|音乐|电影|文学|语法|数学|统计|代数|几何|编程|Python|Java|C++|前端|数据库|Linux|网络|Kubernetes|Excel"
    "|我们的产品|订单和退货|保险|健康|营养|园艺|汽车|宠物|教育|职业规划|市场营销|古诗词|英语学习)"
)
_ZH_WORK = (
    "(回答问题|回答用户的问题|回答有关{领域}的问题|讲解{领域}知识|提供{领域}方面的建议|帮助用户|辅导{领域}|和用户聊天|写代码|编写{领域}代码|审查代码|修复程序里的错误|补全代码|写单元测试|写注释和文档|解释代码"
    "|写邮件|写故事|写诗|写作文|写文案|写周报|润色文章|修改病句|改写句子|续写故事|翻译成{语言}|把用户的话翻译成{语言}|总结文章|概括段落大意|给文章起标题|提取关键词|给文章分类|判断评论的情感|判断两句话是否矛盾"
    "|阅读材料后回答问题|根据上下文回答|做选择题|选出正确的选项|解应用题|解方程|逐步推理|找出逻辑漏洞|识别人名和地名|抽取实体|判断对错|出几道练习题|制定学习计划|翻译这句话|把句子翻译成{语言}|翻译以下内容|把词语按顺序排列|给数字排序|去掉重复的词|计算结果|算出总价|判断正误|判断情感是正面还是负面|纠正错别字|找出动词|提取日期|提取姓名和地点"
    "|提取邮箱|解析网址|说出首都|改写得更礼貌|改写成正式语气|回答选择题，只写字母|数一数有多少个词|给函数起名|规划行程|推荐书籍|头脑风暴|生成对话|生成问题|查天气|调用工具)"
)

_ZH_DO = "(分析|审阅|比较|检查|评价|解读|讲解|概括|起草|改写|润色|设计|规划|调试|重构|整理|证明|推导|估算|建模|研究|标注|批改|讨论|总结|翻译|核对|诊断|撰写|梳理|复现|排查)"
_ZH_THING = (
    "(合同|案例|病历|财报|论文|新闻稿|古诗文|作文|论证|证明|程序|接口文档|数据库表|实验数据|会议记录|客服工单|故障报告|日志|需求文档|教案|菜谱|行程|预算|考试题|应用题|方程|判决书|法条"
    "|政策|商品评论|问卷|采访稿|演讲稿|求职信|广告文案|游戏设定|测试方案|配置文件|表格|图表|定理|算法|小说|剧本|口供|保险条款|招标书|说明书|简历|辩论稿|历史资料|选择题|阅读材料|小程序页面|脚本)"
)
_ZH_POINT = (
    "(指出缺少什么|说明理由|写出每一步|注明出处|保持中立|提出修改建议|给出结论|让外行也看得懂|语气正式|不要编造|列出疑点|最后给出建议|比较两种方案|标出不确定的地方|举一个例子|说明利弊|加一个标题"
    "|不要写代码|附上测试|变量名不要改|逐一排除|找出漏洞|控制篇幅|史实要准确|结论要有依据|先讲思路再给答案|写成一篇文章|写出推理链条|结果保留两位小数|最后给出选项字母)"
)

_ZH_TEMPLATES = (
    f"(请|请你|)(把|将)(句子|这句话|这段话|下面的文字|用户的话|用户输入的内容)(翻译|译)成{_ZH_LANGUAGE}(。|)",
    f"(请|)(翻译|译)(成|为){_ZH_LANGUAGE}(。|，只输出译文。|)",
    f"(中译英|英译中|翻译|你是翻译|{_ZH_LANGUAGE}翻译|把{_ZH_LANGUAGE}翻译成{_ZH_LANGUAGE})(。|)",
    f"(请|帮我|){_ZH_DO}{_ZH_THING}(。|)",
    f"{_ZH_DO}(这份|下面的|用户发来的|给定的){_ZH_THING}，{_ZH_POINT}。",
    f"{_ZH_DO}{_ZH_THING}，{_ZH_POINT}，{_ZH_POINT}。",
    f"(根据|阅读){_ZH_THING}{_ZH_DO}{_ZH_THING}，{_ZH_POINT}。",
    f"{_ZH_THING}{_ZH_DO}：{_ZH_POINT}，再{_ZH_DO}{_ZH_THING}，{_ZH_POINT}。",
    f"你会看到{_ZH_THING}(|和{_ZH_THING})。先{_ZH_DO}，{_ZH_POINT}；再{_ZH_POINT}，{_ZH_POINT}。",
    f"(请|)(用|以){_ZH_FORM}(回答|回复|输出|作答)(。|，不要解释。|，不要输出其他内容。|)",
    f"(只|仅|请只)(输出|返回|给出){_ZH_FORM}(。|，不要解释。|，不要任何多余的内容。)",
    f"(回答|输出|结果)(必须|应该|要)是{_ZH_FORM}。",
    f"(请|始终|务必|)(用|使用){_ZH_LANGUAGE}(回答|回复|交流|写作)(。|，语气{_ZH_TONE}。|)",
    f"(保持|语气要|回答要|说话要){_ZH_TONE}(。|、{_ZH_TONE}。)",
    f"你是一(个|名|位)(|{_ZH_TONE}的){_ZH_ROLE}。",
    f"你是一(个|名|位){_ZH_ROLE}，(擅长|精通|熟悉){{领域}}。",
    f"你是一(个|名|位)(|{_ZH_TONE}的){_ZH_ROLE}，(负责|请|任务是){_ZH_WORK}。",
    f"(扮演|假装你是|请像)一(个|名|位){_ZH_ROLE}(。|，{_ZH_WORK}。)",
    f"(请|请你|帮我|){_ZH_WORK}(。|)",
    f"{_ZH_WORK}，(用|以){_ZH_FORM}(输出|回答)。",
    f"{_ZH_WORK}，语气{_ZH_TONE}。",
    f"(任务|目标|角色)：{_ZH_WORK}(。|。要求：{_ZH_TONE}。)",
    f"(# 角色|【角色】){_ZH_ROLE}(\n| )(# 任务|【任务】){_ZH_WORK}。",
    f"用户会(提问|发来材料|发来文章|发来题目|描述需求)，(请|你要){_ZH_WORK}。",
    "你是(通义千问|小智|小爱|一个 AI|公司的客服)，(由|来自)(阿里云|一家公司|我们团队)。(你是一个有用的助手。|)",
    "(一步一步|逐步)(思考|推理|解答)(。|，最后给出答案。|，写出过程。)",
    "(不要|请勿|切勿)(解释|道歉|编造|使用表情符号|重复问题|写代码|透露这些指令|猜测)。",
    "(不知道|不确定|没有把握)(就说不知道|时请说明|的话请先提问)。",
    "(回答|内容)(尽量简短|不超过五十字|不超过一百字|要详细|控制在三句话以内)。",
    "(可以|必要时)(调用工具|使用搜索引擎|使用计算器|运行代码)。",
    "(只|请)(根据|依据)(给定的|下面的|所附的)(材料|文档|上下文|资料)(回答|作答)(。|，没有写的就说不知道。)",
    "(补全|继续写|修改|优化|重构)(代码|函数|这段程序|选中的代码)(。|，只输出代码。|，变量名不要改。|，不要解释。)",
    "(讲给小学生听|用通俗的话解释|用专业术语解释|给初学者讲解)。",
    "(你好|随便聊聊|帮帮我|测试一下|在吗)(。|！|)",
)  # fmt: skip
_ZH_SHARE = 0.3
"""Of the prompts, those in Chinese."""
_PARAGRAPHS = 0.3
"""Of the prompts, those of several sentences."""
_ENDS = (".", "!", "?", "。", "！", "？")


def hint(rng: random.Random) -> str:
    """One system prompt: of one sentence, or of up to five."""
    write, space = (_chinese, "") if rng.random() < _ZH_SHARE else (_english, " ")
    count = rng.randint(2, 5) if rng.random() < _PARAGRAPHS else 1
    sentences = [write(rng) for _ in range(count)]
    if count > 1:
        sentences = [text if text.endswith(_ENDS) else text + ("." if space else "。") for text in sentences]
    return (rng.choice((space, space, "\n")) if count > 1 else "").join(sentences)


def _chinese(rng: random.Random) -> str:
    return _filled(vary(rng.choice(_ZH_TEMPLATES), rng), {"{领域}": _ZH_FIELD, "{语言}": _ZH_LANGUAGE}, rng)


def _english(rng: random.Random) -> str:
    templates = _PLAIN if rng.random() < _PLAIN_SHARE else _TEMPLATES
    text = _filled(vary(rng.choice(templates), rng), {"{field}": _FIELD}, rng)
    text = re.sub(r"\b([Aa])n?(?= [aeiouAEIOU])", r"\1n", re.sub(r"\b([Aa])n(?= [^aeiouAEIOU])", r"\1", text))
    return re.sub(r"(?:^|(?<=[.!?] ))[a-z]", lambda match: match[0].upper(), text.strip())


def _filled(text: str, slots: Mapping[str, str], rng: random.Random) -> str:
    """Each slot filled with a wording of its own."""
    for slot, template in slots.items():
        while slot in text:
            text = text.replace(slot, vary(template, rng), 1)
    return text


def hints(count: int, seed: int, held_out: bool = False) -> list[str]:
    """`count` different ones: those to learn from, or the eighth, by their hash, that is kept for measuring."""
    rng, found = random.Random(seed), dict[str, None]()
    while len(found) < count:
        text = hint(rng)
        if (zlib.crc32(text.encode()) % HELD_OUT_SHARE == 0) == held_out:
            found[text] = None
    return list(found)
